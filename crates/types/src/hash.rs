//! Content hashes: the identity of models, templates, data and questions in manifests and ids.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// SHA-256 in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentHash(String);

impl ContentHash {
    /// The hash of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = Hasher::new();
        hasher.bytes(bytes.as_ref());
        hasher.finish()
    }

    /// All 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 hex digits: enough to tell things apart on a screen.
    pub fn short(&self) -> &str {
        &self.0[..12.min(self.0.len())]
    }
}

impl FromStr for ContentHash {
    type Err = String;

    /// A hash that was written down.
    ///
    /// # Errors
    /// When `text` is not 64 lower-case hex digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a content hash is 64 lower-case hex digits (SHA-256)".into())
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `value` as JSON with the keys of objects in order, so that equal values are equal text.
pub fn canonical_json(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let field = |(key, value): (&String, &Value)| {
                format!("{}:{}", Value::from(key.as_str()), canonical_json(value))
            };
            format!("{{{}}}", joined(fields.into_iter().map(field).collect()))
        }
        Value::Array(values) => {
            format!("[{}]", joined(values.iter().map(canonical_json).collect()))
        }
        scalar => scalar.to_string(),
    }
}

/// Builds a [`ContentHash`] from parts.
///
/// [`Hasher::field`] prefixes each part with its length, so that ("ab", "c") and ("a", "bc")
/// differ; [`Hasher::bytes`] streams raw content, such as a file in chunks.
#[derive(Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// An empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds raw bytes, as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// Adds one delimited part.
    pub fn field(&mut self, part: impl AsRef<[u8]>) -> &mut Self {
        let part = part.as_ref();
        self.bytes(&(part.len() as u64).to_le_bytes()).bytes(part)
    }

    /// The hash of all that was added.
    pub fn finish(self) -> ContentHash {
        let digest = self.0.finalize();
        ContentHash(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_delimited() {
        let hash = |parts: &[&str]| {
            let mut hasher = Hasher::new();
            for part in parts {
                hasher.field(part);
            }
            hasher.finish()
        };
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_eq!(
            ContentHash::of("abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn only_64_lower_case_hex_digits_are_read_as_a_hash() {
        let hash = ContentHash::of("abc");
        assert_eq!(hash.as_str().parse(), Ok(hash.clone()));
        let text = hash.as_str();
        for odd in ["", &text[1..], &text.to_uppercase(), &text.replace('b', "g")] {
            assert!(odd.parse::<ContentHash>().is_err(), "{odd:?} was accepted");
        }
    }
}
