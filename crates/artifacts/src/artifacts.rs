//! The artifacts of one job: named bytes, written all or nothing.

use crate::name::checked;
use crate::store::{ArtifactStore, Place};
use crate::{Bytes, Error};
use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use rlaif_types::{ContentHash, Hasher};

/// Bytes sent to a bucket in one part; S3 takes at most 10,000 parts.
const PART_BYTES: usize = 16 << 20;

/// One job's artifacts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Artifacts {
    pub(crate) store: ArtifactStore,
    pub(crate) prefix: Path,
}

impl Artifacts {
    pub(crate) fn new(store: ArtifactStore, prefix: Path) -> Self {
        Self { store, prefix }
    }

    /// Where the artifact of this name lies in the store.
    ///
    /// # Errors
    /// When the name leads elsewhere.
    pub(crate) fn path(&self, name: &str) -> Result<Path, Error> {
        Ok(self.prefix.parts().chain(checked(name)?.parts()).collect())
    }

    /// Where the artifact of this name lies, from the store's root.
    ///
    /// # Errors
    /// When the name leads elsewhere.
    pub fn location(&self, name: &str) -> Result<String, Error> {
        Ok(self.path(name)?.to_string())
    }

    /// Stores `bytes` under `name`, replacing what was there. A reader sees the old bytes or the
    /// new, never a part; once this returns, a local file is on disk.
    ///
    /// # Errors
    /// When the name is bad or the store fails; what was there before is intact.
    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), Error> {
        let mut upload = self.upload(name)?;
        upload.write(bytes.into()).await?;
        upload.finish().await
    }

    /// Begins to store an artifact in pieces.
    pub(crate) fn upload(&self, name: &str) -> Result<Upload, Error> {
        let path = self.path(name)?;
        let name = match &self.store.place {
            Place::Local(root) => root.join(path.as_ref()).display().to_string(),
            Place::Remote(_) => name.to_owned(),
        };
        let writer = BufWriter::with_capacity(self.store.objects.clone(), path, PART_BYTES);
        Ok(Upload { writer, name })
    }

    /// The bytes under `name`.
    ///
    /// # Errors
    /// When there are none, or the store fails.
    pub async fn get(&self, name: &str) -> Result<Bytes, Error> {
        let found = self.store.objects.get(&self.path(name)?).await.map_err(Error::store(name))?;
        found.bytes().await.map_err(Error::store(name))
    }

    /// SHA-256 of the bytes under `name`, which are not held in memory.
    ///
    /// # Errors
    /// When there are none, or the store fails.
    pub async fn hash(&self, name: &str) -> Result<ContentHash, Error> {
        let found = self.store.objects.get(&self.path(name)?).await.map_err(Error::store(name))?;
        let (mut stream, mut hasher) = (found.into_stream(), Hasher::new());
        while let Some(chunk) = stream.try_next().await.map_err(Error::store(name))? {
            hasher.bytes(&chunk);
        }
        Ok(hasher.finish())
    }

    /// True when there is an artifact of this name.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn exists(&self, name: &str) -> Result<bool, Error> {
        match self.size(name).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Size in bytes.
    pub(crate) async fn size(&self, name: &str) -> Result<u64, Error> {
        let meta = self.store.objects.head(&self.path(name)?).await;
        Ok(meta.map_err(Error::store(name))?.size)
    }

    /// Removes an artifact; one that is not there is removed already.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let deleted = self.store.objects.delete(&self.path(name)?).await;
        match deleted.map_err(Error::store(name)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Names of all artifacts under the folder `name`, sorted.
    ///
    /// # Errors
    /// When the name is bad or the store fails.
    pub async fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        let found = self.store.objects.list(Some(&self.path(name)?));
        let found: Vec<_> = found.try_collect().await.map_err(Error::store(name))?;
        let mut names: Vec<String> = found
            .iter()
            .filter_map(|meta| {
                let parts = meta.location.prefix_match(&self.prefix)?;
                Some(parts.collect::<Path>().to_string())
            })
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// An artifact on its way into the store. Nothing is seen of it before [`Upload::finish`].
pub(crate) struct Upload {
    writer: BufWriter,
    /// As complaints have it: of a local store the file, since the disk may be full and the store's own errors
    /// do not say which.
    name: String,
}

impl Upload {
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.writer.put(bytes).await;
        if written.is_err() {
            // What was sent costs until it is dropped; the error tells more than this one's would.
            let _ = self.writer.abort().await;
        }
        written.map_err(Error::store(&self.name))
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        use tokio::io::AsyncWriteExt;
        self.writer.shutdown().await.map_err(|e| {
            let source = object_store::Error::Generic { store: "upload", source: Box::new(e) };
            Error::Store { name: self.name, source }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Removed;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    /// The same in a local folder, in a bucket in memory, and in a real one where `RLAIF_TEST_BUCKET`
    /// names it (`s3://bucket/prefix`, in a build with the feature).
    fn stores(dir: &std::path::Path) -> Vec<ArtifactStore> {
        let bucket = Arc::new(InMemory::new());
        let mut stores = vec![
            ArtifactStore::open(&dir.join("store").display().to_string(), dir).unwrap(),
            ArtifactStore::over(bucket, Path::from("some/prefix"), dir).unwrap(),
        ];
        if let Ok(url) = std::env::var("RLAIF_TEST_BUCKET") {
            // A prefix of its own for each test.
            let name = dir.file_name().unwrap().to_string_lossy().replace('.', "");
            stores.push(ArtifactStore::open(&format!("{url}/{name}"), dir).unwrap());
        }
        stores
    }

    #[tokio::test]
    async fn what_is_put_is_there_until_it_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        for store in stores(dir.path()) {
            let artifacts = store.job("job-1").unwrap();
            let (one, two) = ("state/1.bin", "state/2.bin");
            artifacts.put(two, "old").await.unwrap();
            artifacts.put(two, "new").await.unwrap();
            artifacts.put(one, "").await.unwrap();
            artifacts.put("states.bin", "beside the folder").await.unwrap();
            assert_eq!(artifacts.get(two).await.unwrap(), "new");
            assert_eq!(artifacts.hash(two).await.unwrap(), ContentHash::of("new"));
            assert_eq!(artifacts.list("state").await.unwrap(), [one, two]);
            assert!(artifacts.exists(one).await.unwrap());
            for _ in 0..2 {
                artifacts.delete(one).await.unwrap();
                assert!(!artifacts.exists(one).await.unwrap());
            }
            let error = artifacts.get(one).await.unwrap_err();
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn jobs_see_their_own_artifacts_only() {
        let dir = tempfile::tempdir().unwrap();
        for store in stores(dir.path()) {
            let (mine, other) = (store.job("job-1").unwrap(), store.job("job-2").unwrap());
            other.put("x", "theirs").await.unwrap();
            assert!(!mine.exists("x").await.unwrap());
            assert!(matches!(mine.get("../job-2/x").await, Err(Error::BadName { .. })));
            assert!(matches!(mine.put("../job-2/x", "").await, Err(Error::BadName { .. })));
            assert!(matches!(store.job("../elsewhere"), Err(Error::BadName { .. })));
            assert_eq!(other.get("x").await.unwrap(), "theirs");
            assert_eq!(store.job("").unwrap().get("job-2/x").await.unwrap(), "theirs");
        }
    }

    #[tokio::test]
    async fn a_job_is_removed_with_all_it_has_and_no_other_loses_anything() {
        let dir = tempfile::tempdir().unwrap();
        for store in stores(dir.path()) {
            // The longer name begins with the shorter one.
            let (mine, other) = (store.job("job-1").unwrap(), store.job("job-10").unwrap());
            for artifacts in [&mine, &other] {
                artifacts.put("state/1.bin", "12345").await.unwrap();
                artifacts.put("payloads/same", "the same").await.unwrap();
            }
            let removed = store.remove_job("job-1").await.unwrap();
            assert_eq!((removed.files, removed.bytes), (2, 13));
            assert!(!mine.exists("state/1.bin").await.unwrap());
            assert!(!mine.exists("payloads/same").await.unwrap());
            assert_eq!(store.remove_job("job-1").await.unwrap(), Removed::default());
            assert_eq!(other.get("state/1.bin").await.unwrap(), "12345");
            assert_eq!(other.get("payloads/same").await.unwrap(), "the same");
            for name in ["", "..", "job-1/../job-10"] {
                let refused = store.remove_job(name).await;
                assert!(matches!(refused, Err(Error::BadName { .. })), "{name:?}");
            }
        }
    }

    /// Beyond one part, so that it goes in pieces.
    #[tokio::test]
    async fn an_artifact_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        for store in stores(dir.path()) {
            let artifacts = store.job("job").unwrap();
            let part = Bytes::from(vec![7; PART_BYTES]);
            let mut upload = artifacts.upload("big").unwrap();
            upload.write(part.clone()).await.unwrap();
            upload.write(part.clone()).await.unwrap();
            // As if killed here.
            drop(upload);
            assert!(!artifacts.exists("big").await.unwrap());
            assert!(artifacts.list("big").await.unwrap().is_empty());

            artifacts.put("big", [part.clone(), part].concat()).await.unwrap();
            assert_eq!(artifacts.get("big").await.unwrap().len(), 2 * PART_BYTES);
        }
    }
}
