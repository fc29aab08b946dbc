//! Messages of any size through a queue that takes small ones.
//!
//! A message over [`MAX_INLINE_BYTES`] is put into the store under its content's hash, and the queue
//! carries a reference. The same message sent twice is stored once; a reader takes nothing whose
//! hash is not the reference's.

use crate::{Artifacts, Bytes, Error};
use rlaif_types::ContentHash;
use serde::{Deserialize, Serialize};

/// Largest message that travels in the queue itself.
pub const MAX_INLINE_BYTES: usize = 48 << 10;

/// Largest message at all; it is held in memory whole.
pub const MAX_STORED_BYTES: usize = 256 << 20;

/// First byte of a message on the wire.
const INLINE: u8 = b'i';
const STORED: u8 = b's';

/// A message as the queue carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The message itself.
    Inline(Bytes),
    /// Where it is.
    Stored(StoredPayload),
}

/// A reference to a message in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPayload {
    /// Artifact of the job that holds it.
    pub name: String,
    /// Hash of its bytes.
    pub sha256: ContentHash,
    /// How many they are.
    pub bytes: usize,
}

impl Payload {
    /// Makes `message` ready to be sent; a large one is in the store once this returns.
    ///
    /// # Errors
    /// When it is too large for the store, or the store fails.
    pub async fn of(artifacts: &Artifacts, message: impl Into<Bytes>) -> Result<Self, Error> {
        let message = message.into();
        let bytes = message.len();
        if bytes <= MAX_INLINE_BYTES {
            return Ok(Self::Inline(message));
        }
        if bytes > MAX_STORED_BYTES {
            return Err(Error::TooLarge { bytes, limit: MAX_STORED_BYTES });
        }
        let sha256 = ContentHash::of(&message);
        let name = format!("payloads/{sha256}");
        artifacts.put(&name, message).await?;
        Ok(Self::Stored(StoredPayload { name, sha256, bytes }))
    }

    /// The message.
    ///
    /// # Errors
    /// When the stored bytes are gone or are not those that were sent.
    pub async fn message(self, artifacts: &Artifacts) -> Result<Bytes, Error> {
        let StoredPayload { name, sha256, bytes } = match self {
            Self::Inline(message) => return Ok(message),
            Self::Stored(stored) => stored,
        };
        // Before anything is downloaded.
        let found = artifacts.size(&name).await?;
        if found != bytes as u64 {
            return Err(Error::damaged(&name, format!("{found} bytes where {bytes} were sent")));
        }
        let message = artifacts.get(&name).await?;
        if ContentHash::of(&message) != sha256 {
            return Err(Error::damaged(&name, "its hash is not that of what was sent"));
        }
        Ok(message)
    }

    /// As bytes for a queue.
    pub fn to_wire(&self) -> Vec<u8> {
        match self {
            Self::Inline(message) => [&[INLINE], &message[..]].concat(),
            Self::Stored(stored) => {
                let json = serde_json::to_vec(stored).expect("a reference is plain data");
                [&[STORED], &json[..]].concat()
            }
        }
    }

    /// Reads what [`Payload::to_wire`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_wire(wire: &[u8]) -> Result<Self, Error> {
        let bad = |what: String| Error::damaged("of a queue's message", what);
        match wire.split_first() {
            Some((&INLINE, message)) => Ok(Self::Inline(Bytes::copy_from_slice(message))),
            Some((&STORED, json)) => {
                let stored: StoredPayload =
                    serde_json::from_slice(json).map_err(|e| bad(e.to_string()))?;
                match stored.bytes <= MAX_STORED_BYTES {
                    true => Ok(Self::Stored(stored)),
                    false => Err(Error::TooLarge { bytes: stored.bytes, limit: MAX_STORED_BYTES }),
                }
            }
            _ => Err(bad("it begins with no known kind".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArtifactStore;

    fn artifacts(dir: &tempfile::TempDir) -> Artifacts {
        let root = dir.path().display().to_string();
        ArtifactStore::open(&root, dir.path()).unwrap().job("job").unwrap()
    }

    #[tokio::test]
    async fn a_message_arrives_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        for bytes in [0, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, 1 << 20] {
            let message: Vec<u8> = (0..bytes).map(|i| i as u8).collect();
            let sent = Payload::of(&artifacts, message.clone()).await.unwrap();
            let wire = sent.to_wire();
            assert!(wire.len() <= MAX_INLINE_BYTES + 1, "{} bytes in the queue", wire.len());
            let received = Payload::from_wire(&wire).unwrap();
            assert_eq!(received, sent);
            assert_eq!(received.message(&artifacts).await.unwrap(), message);
        }
        assert_eq!(artifacts.list("payloads").await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_stored_message_that_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        let sent = Payload::of(&artifacts, vec![1; MAX_INLINE_BYTES + 1]).await.unwrap();
        let Payload::Stored(StoredPayload { name, .. }) = &sent else { panic!("{sent:?}") };
        for damaged in [vec![2; MAX_INLINE_BYTES + 1], vec![1; MAX_INLINE_BYTES]] {
            artifacts.put(name, damaged).await.unwrap();
            let error = sent.clone().message(&artifacts).await.unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{error}");
        }
        artifacts.delete(name).await.unwrap();
        let error = sent.message(&artifacts).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }

    #[test]
    fn a_message_of_no_known_kind_is_refused() {
        for wire in [&b""[..], b"x", b"s{}", b"s{\"name\":\"a\",\"sha256\":\"\",\"bytes\":1e12}"] {
            assert!(Payload::from_wire(wire).is_err());
        }
    }

    #[tokio::test]
    async fn a_reference_cannot_name_another_jobs_artifacts() {
        let dir = tempfile::tempdir().unwrap();
        let stolen =
            StoredPayload { name: "../other/secret".into(), sha256: ContentHash::of(""), bytes: 0 };
        let error = Payload::Stored(stolen).message(&artifacts(&dir)).await.unwrap_err();
        assert!(matches!(error, Error::BadName { .. }), "{error}");
    }
}
