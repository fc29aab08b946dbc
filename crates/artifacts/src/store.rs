//! Where artifacts are kept: a local folder, or a bucket of S3 or Google Cloud Storage.

use crate::folder::blocking;
use crate::name::checked;
use crate::{Artifacts, Error};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long the store may take to say that it is there. Other calls to a bucket that is away are repeated
/// for minutes before they fail.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// The artifacts of all jobs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// Under which everything lies.
    root: ObjectPath,
    pub(crate) place: Place,
}

/// How a folder of artifacts becomes a local one.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// It is one already, under this root.
    Local(PathBuf),
    /// It is downloaded into this cache.
    Remote(PathBuf),
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many files.
    pub files: u64,
    /// What they took.
    pub bytes: u64,
}

impl ArtifactStore {
    /// Opens the store at `url`: a path, `file:///...`, and in builds with the features `s3` and
    /// `gcs`, `s3://bucket/prefix` and `gs://bucket/prefix`, whose credentials come from the usual
    /// environment variables. Folders of a bucket are downloaded into `cache`.
    ///
    /// # Errors
    /// When this build knows no such address, or a local folder cannot be made.
    pub fn open(url: &str, cache: &Path) -> Result<Self, Error> {
        match url.split_once("://") {
            None => Self::local(Path::new(url)),
            Some(("file", _)) => {
                let path = url::Url::parse(url).ok().and_then(|url| url.to_file_path().ok());
                Self::local(&path.ok_or_else(|| bad_url(url, "expected file:///absolute/path"))?)
            }
            Some(("s3", rest)) => Self::over(s3(url)?, prefix(url, rest)?, cache),
            Some(("gs", rest)) => Self::over(gcs(url)?, prefix(url, rest)?, cache),
            Some(_) => Err(bad_url(url, "expected a path, file://, s3:// or gs://")),
        }
    }

    /// A store over the local folder `root`, which is made where it is not there.
    fn local(root: &Path) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::io(root))?;
        let root = root.canonicalize().map_err(Error::io(root))?;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|e| bad_url(&root.to_string_lossy(), &e.to_string()))?
            // What is acknowledged to a queue must have reached the disk.
            .with_fsync(true);
        Ok(Self {
            objects: Arc::new(objects),
            root: ObjectPath::default(),
            place: Place::Local(root),
        })
    }

    /// A store over any object store, everything under `root`; folders are downloaded into `cache`.
    ///
    /// # Errors
    /// When the cache cannot be made.
    pub fn over(
        objects: Arc<dyn ObjectStore>,
        root: ObjectPath,
        cache: &Path,
    ) -> Result<Self, Error> {
        fs::create_dir_all(cache).map_err(Error::io(cache))?;
        let cache = cache.canonicalize().map_err(Error::io(cache))?;
        Ok(Self { objects, root, place: Place::Remote(cache) })
    }

    /// The artifacts of one job. The empty name is the store itself, for a store that holds one job
    /// alone.
    ///
    /// # Errors
    /// When the job's name is no name of a folder in the store.
    pub fn job(&self, job: &str) -> Result<Artifacts, Error> {
        let prefix = match job {
            "" => self.root.clone(),
            job => self.root.parts().chain(checked(job)?.parts()).collect(),
        };
        Ok(Artifacts::new(self.clone(), prefix))
    }

    /// Removes all artifacts of one job, whose name is its alone, so no other's are touched. Of a job that
    /// has none, nothing is; so it may be done again where it failed in between.
    ///
    /// # Errors
    /// When the job's name is no name of a folder in the store, or the store fails.
    pub async fn remove_job(&self, job: &str) -> Result<Removed, Error> {
        // The empty name, which is the whole store's elsewhere, is none here.
        let prefix: ObjectPath = self.root.parts().chain(checked(job)?.parts()).collect();
        let found = self.objects.list(Some(&prefix)).try_collect::<Vec<ObjectMeta>>().await;
        let found = found.map_err(Error::store(job))?;
        let removed = Removed {
            files: found.len() as u64,
            bytes: found.iter().map(|object| object.size).sum(),
        };
        match &self.place {
            Place::Local(root) => {
                let folder = root.join(prefix.as_ref());
                blocking(move || remove_folder(&folder).map_err(Error::io(&folder))).await?;
            }
            Place::Remote(_) => {
                let locations = found.into_iter().map(|object| Ok(object.location));
                let mut gone = self.objects.delete_stream(stream::iter(locations).boxed());
                while gone.try_next().await.map_err(Error::store(job))?.is_some() {}
            }
        }
        Ok(removed)
    }

    /// Whether the store can be reached, within seconds.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn probe(&self) -> Result<(), Error> {
        let asking = async {
            match &self.place {
                Place::Local(root) => {
                    let root = root.clone();
                    blocking(move || fs::read_dir(&root).map(drop).map_err(Error::io(&root))).await
                }
                // That there is nothing of this name is an answer.
                Place::Remote(_) => self.job("")?.exists("probe").await.map(drop),
            }
        };
        timeout(PROBE_PATIENCE, asking).await.unwrap_or_else(|_| {
            let source = format!("no answer within {PROBE_PATIENCE:?}").into();
            Err(Error::store("probe")(object_store::Error::Generic { store: "artifacts", source }))
        })
    }
}

/// Removes a folder with all that is in it, and has the disk know; one that is not there is removed already.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn bad_url(url: &str, what: &str) -> Error {
    Error::BadUrl { url: url.to_owned(), what: what.to_owned() }
}

/// What follows the bucket.
fn prefix(url: &str, rest: &str) -> Result<ObjectPath, Error> {
    let prefix = rest.split_once('/').map_or("", |(_, prefix)| prefix);
    ObjectPath::parse(prefix).map_err(|e| bad_url(url, &e.to_string()))
}

#[cfg(feature = "s3")]
fn s3(url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    use_ring();
    let builder = object_store::aws::AmazonS3Builder::from_env().with_url(url);
    Ok(Arc::new(builder.build().map_err(|e| bad_url(url, &e.to_string()))?))
}

#[cfg(not(feature = "s3"))]
fn s3(url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    Err(bad_url(url, "this binary was built without S3; build it with --features s3"))
}

#[cfg(feature = "gcs")]
fn gcs(url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    use_ring();
    let builder = object_store::gcp::GoogleCloudStorageBuilder::from_env().with_url(url);
    Ok(Arc::new(builder.build().map_err(|e| bad_url(url, &e.to_string()))?))
}

#[cfg(not(feature = "gcs"))]
fn gcs(url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    Err(bad_url(url, "this binary was built without GCS; build it with --features gcs"))
}

/// The HTTP client takes the process's cryptography; whoever came first has chosen it.
#[cfg(feature = "cloud")]
fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_does_not_answer_is_known_to_be_away_before_long() {
        let dir = tempfile::tempdir().unwrap();
        let answers_after = |wait_get_per_call: Duration| {
            let slow = ThrottleConfig { wait_get_per_call, ..ThrottleConfig::default() };
            let objects = Arc::new(ThrottledStore::new(InMemory::new(), slow));
            ArtifactStore::over(objects, ObjectPath::default(), dir.path()).unwrap()
        };
        answers_after(PROBE_PATIENCE / 2).probe().await.unwrap();
        let error = answers_after(60 * PROBE_PATIENCE).probe().await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("no answer within 5s"), "{error}");
    }

    #[test]
    fn an_address_is_understood_or_refused_with_what_would_do() {
        let dir = tempfile::tempdir().unwrap();
        let open = |url: &str| ArtifactStore::open(url, &dir.path().join("cache"));
        let path = dir.path().join("a folder");
        for url in [path.display().to_string(), format!("file://{}/b%20c", dir.path().display())] {
            open(&url).unwrap();
        }
        assert!(path.is_dir() && dir.path().join("b c").is_dir());
        let error = open("ftp://host/x").unwrap_err().to_string();
        assert!(error.contains("s3://"), "{error}");
    }

    #[test]
    fn a_bucket_opens_where_it_is_built_in_and_else_says_how_to_build_it() {
        let dir = tempfile::tempdir().unwrap();
        let features = [("s3", cfg!(feature = "s3")), ("gcs", cfg!(feature = "gcs"))];
        for ((feature, built_in), url) in features.into_iter().zip(["s3://b/runs", "gs://b/runs"]) {
            match ArtifactStore::open(url, dir.path()) {
                Ok(_) => assert!(built_in, "{url} opened without {feature}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        !built_in && error.contains(&format!("--features {feature}")),
                        "{error}"
                    );
                }
            }
        }
    }
}
