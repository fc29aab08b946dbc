//! Folders of files, such as models: saved as one, found again as a local folder.
//!
//! A local store renames a complete copy into place. A bucket has no rename, so there a manifest
//! with every file's hash is written last: a folder without one is not there, and one whose files
//! are not the manifest's is damaged.

use crate::store::Place;
use crate::{Artifacts, Bytes, Error};
use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use rlaif_types::{ContentHash, Hasher};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Downloaded folders kept, those used last. One in use survives its removal: readers of models map
/// its files.
const CACHED_FOLDERS: usize = 16;

/// What the names of downloads begin with that are not whole yet.
const PARTIAL: &str = "partial-";

/// A download that is not whole and got no new file for so long is nobody's any more.
const LONGEST_SILENCE: Duration = Duration::from_hours(24);

/// Bytes read from a file at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// Files of a folder in a bucket, by name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct FolderManifest {
    files: BTreeMap<String, StoredFile>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct StoredFile {
    sha256: ContentHash,
    bytes: u64,
}

impl Artifacts {
    /// Stores the files of the local `folder` under `name`, all or nothing.
    ///
    /// # Errors
    /// When the folder holds anything but files, or cannot be read or stored.
    pub async fn save_folder(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let path = self.path(name)?;
        match &self.store.place {
            Place::Local(root) => {
                let (from, to) = (folder.to_owned(), root.join(path.as_ref()));
                blocking(move || copy_folder(&from, &to)).await
            }
            Place::Remote(_) => self.upload_folder(folder, name).await,
        }
    }

    /// The folder saved under `name` on this machine: the very folder of a local store, a verified
    /// copy of one in a bucket.
    ///
    /// # Errors
    /// When there is none, the store fails, or what comes is not what was saved.
    pub async fn local_folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path(name)?;
        match &self.store.place {
            Place::Local(root) => {
                let folder = root.join(path.as_ref());
                match folder.is_dir() {
                    true => Ok(folder),
                    false => Err(Error::NotFound { name: name.to_owned() }),
                }
            }
            Place::Remote(cache) => self.download_folder(name, path.as_ref(), cache).await,
        }
    }

    /// Which of the folders that were saved under `name` is there now: another text for each.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn revision(&self, name: &str) -> Result<String, Error> {
        match &self.store.place {
            Place::Local(root) => {
                let folder = root.join(self.path(name)?.as_ref());
                // Every save renames a new folder into place.
                match fs::metadata(&folder) {
                    Ok(found) if found.is_dir() => {
                        Ok(format!("{}-{}.{:09}", found.ino(), found.mtime(), found.mtime_nsec()))
                    }
                    _ => Err(Error::NotFound { name: name.to_owned() }),
                }
            }
            // Every save ends with a new manifest, which holds every file's hash.
            Place::Remote(_) => {
                Ok(ContentHash::of(self.get(&manifest_name(name)).await?).to_string())
            }
        }
    }

    async fn upload_folder(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let mut manifest = FolderManifest { files: BTreeMap::new() };
        for (file_name, path) in files_of(folder)? {
            let mut upload = self.upload(&format!("{name}/{file_name}"))?;
            let (mut file, mut hasher, mut bytes) =
                (File::open(&path).map_err(Error::io(&path))?, Hasher::new(), 0);
            loop {
                let (chunk, rest) = read_chunk(file, &path).await?;
                file = rest;
                if chunk.is_empty() {
                    break;
                }
                hasher.bytes(&chunk);
                bytes += chunk.len() as u64;
                upload.write(chunk).await?;
            }
            upload.finish().await?;
            manifest.files.insert(file_name, StoredFile { sha256: hasher.finish(), bytes });
        }
        let manifest = serde_json::to_vec_pretty(&manifest).expect("names and hashes serialise");
        self.put(&manifest_name(name), manifest).await
    }

    async fn download_folder(
        &self,
        name: &str,
        path: &str,
        cache: &Path,
    ) -> Result<PathBuf, Error> {
        let bytes = self.get(&manifest_name(name)).await?;
        let manifest: FolderManifest = serde_json::from_slice(&bytes)
            .map_err(|e| Error::damaged(name, format!("its manifest: {e}")))?;
        let mut identity = Hasher::new();
        identity.field(path).field(&bytes);
        let folder = cache.join(identity.finish().as_str());
        if folder.is_dir() {
            return Ok(folder);
        }
        tidy(cache, CACHED_FOLDERS - 1);
        let partial = tempfile::TempDir::with_prefix_in(PARTIAL, cache);
        let partial = partial.map_err(Error::io(cache))?;
        for (file_name, stored) in &manifest.files {
            self.download(&format!("{name}/{file_name}"), stored, partial.path()).await?;
        }
        match fs::rename(partial.path(), &folder) {
            Ok(()) => drop(partial.keep()),
            // Another thread was faster, with the same files.
            Err(_) if folder.is_dir() => {}
            Err(e) => return Err(Error::io(&folder)(e)),
        }
        Ok(folder)
    }

    async fn download(&self, name: &str, stored: &StoredFile, into: &Path) -> Result<(), Error> {
        let path = into.join(name.rsplit('/').next().unwrap_or(name));
        let found = self.store.objects.get(&self.path(name)?).await.map_err(Error::store(name))?;
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        let (mut stream, mut hasher, mut bytes) = (found.into_stream(), Hasher::new(), 0);
        while let Some(chunk) = stream.try_next().await.map_err(Error::store(name))? {
            hasher.bytes(&chunk);
            bytes += chunk.len() as u64;
            file = write_chunk(file, chunk, &path).await?;
        }
        if bytes != stored.bytes || hasher.finish() != stored.sha256 {
            return Err(Error::damaged(name, "its hash is not that of what was saved"));
        }
        Ok(())
    }
}

fn manifest_name(folder: &str) -> String {
    format!("{folder}.manifest.json")
}

/// Runs file work off the threads that drive asynchronous tasks. Its panic goes on here.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it what had not begun.
            Err(_) => Err(Error::Stopping),
        },
    }
}

async fn read_chunk(mut file: File, path: &Path) -> Result<(Bytes, File), Error> {
    let path = path.to_owned();
    blocking(move || {
        let mut chunk = Vec::new();
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
        read.map_err(Error::io(&path))?;
        Ok((chunk.into(), file))
    })
    .await
}

async fn write_chunk(mut file: File, chunk: Bytes, path: &Path) -> Result<File, Error> {
    let path = path.to_owned();
    blocking(move || {
        file.write_all(&chunk).map_err(Error::io(&path))?;
        Ok(file)
    })
    .await
}

/// Names and paths of a folder's files, sorted.
fn files_of(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if path.is_file() => files.push((name.to_owned(), path)),
            _ => {
                let what = "only folders of plain files are stored";
                return Err(Error::io(&path)(std::io::Error::other(what)));
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Copies a folder's files to `to`, complete and on disk before it appears under that name.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(Error::io(&partial))?;
    for (name, path) in files_of(from)? {
        let copy = partial.join(name);
        fs::copy(&path, &copy).map_err(Error::io(&copy))?;
        File::open(&copy).and_then(|file| file.sync_all()).map_err(Error::io(&copy))?;
    }
    if to.exists() {
        fs::remove_dir_all(to).map_err(Error::io(to))?;
    }
    fs::rename(&partial, to).map_err(Error::io(to))?;
    let parent = to.parent().unwrap_or(to);
    File::open(parent).and_then(|folder| folder.sync_all()).map_err(Error::io(parent))
}

/// Removes downloads beyond the newest `keep`, and what killed ones have left. One that cannot be removed costs
/// disk, no more.
fn tidy(cache: &Path, keep: usize) {
    let entries = || fs::read_dir(cache).into_iter().flatten().flatten();
    let modified = |entry: &fs::DirEntry| entry.metadata().ok()?.modified().ok();
    let mut whole: Vec<_> = entries()
        .filter(|entry| entry.file_name().len() == ContentHash::of("").as_str().len())
        .filter_map(|entry| Some((modified(&entry)?, entry.path())))
        .collect();
    whole.sort_unstable();
    whole.truncate(whole.len().saturating_sub(keep));
    let is_abandoned = |entry: &fs::DirEntry| {
        let age = modified(entry).and_then(|last| last.elapsed().ok());
        entry.file_name().to_string_lossy().starts_with(PARTIAL)
            && age.is_some_and(|age| age > LONGEST_SILENCE)
    };
    let abandoned = entries().filter(is_abandoned).map(|entry| entry.path());
    for folder in whole.into_iter().map(|(_, folder)| folder).chain(abandoned) {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArtifactStore;
    use object_store::memory::InMemory;
    use std::sync::Arc;
    use std::time::SystemTime;

    fn folder(dir: &Path, weights: &str) -> PathBuf {
        let folder = dir.join("model");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), "{}").unwrap();
        fs::write(folder.join("model.safetensors"), weights).unwrap();
        folder
    }

    fn bucket(dir: &Path) -> Artifacts {
        let prefix = object_store::path::Path::from("p");
        let store = ArtifactStore::over(Arc::new(InMemory::new()), prefix, &dir.join("cache"));
        store.unwrap().job("job").unwrap()
    }

    fn weights(folder: &Path) -> String {
        fs::read_to_string(folder.join("model.safetensors")).unwrap()
    }

    #[tokio::test]
    async fn a_local_folder_is_found_where_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let store = ArtifactStore::open(&root.display().to_string(), dir.path()).unwrap();
        let artifacts = store.job("").unwrap();
        let mut revisions = Vec::new();
        for text in ["first", "second"] {
            artifacts.save_folder(&folder(dir.path(), text), "checkpoints/policy").await.unwrap();
            revisions.push(artifacts.revision("checkpoints/policy").await.unwrap());
            let found = artifacts.local_folder("checkpoints/policy").await.unwrap();
            assert_eq!(found, root.canonicalize().unwrap().join("checkpoints/policy"));
            assert_eq!(weights(&found), text);
        }
        assert_ne!(revisions[0], revisions[1]);
        assert_eq!(artifacts.revision("checkpoints/policy").await.unwrap(), revisions[1]);
        assert_eq!(fs::read_dir(root.join("checkpoints")).unwrap().count(), 1);
        let missing = artifacts.local_folder("checkpoints/other").await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    }

    #[tokio::test]
    async fn a_folder_in_a_bucket_is_downloaded_once_and_again_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = bucket(dir.path());
        artifacts.save_folder(&folder(dir.path(), "first"), "checkpoints/policy").await.unwrap();
        let first = artifacts.local_folder("checkpoints/policy").await.unwrap();
        assert_eq!(artifacts.local_folder("checkpoints/policy").await.unwrap(), first);
        let revision = artifacts.revision("checkpoints/policy").await.unwrap();
        artifacts.save_folder(&folder(dir.path(), "second"), "checkpoints/policy").await.unwrap();
        let second = artifacts.local_folder("checkpoints/policy").await.unwrap();
        assert_ne!(artifacts.revision("checkpoints/policy").await.unwrap(), revision);
        assert_eq!((weights(&first), weights(&second)), ("first".into(), "second".into()));
    }

    #[tokio::test]
    async fn a_folder_in_a_bucket_is_not_there_before_its_manifest_and_not_with_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = bucket(dir.path());
        artifacts.put("checkpoints/policy/config.json", "{}").await.unwrap();
        let early = artifacts.local_folder("checkpoints/policy").await.unwrap_err();
        assert!(matches!(early, Error::NotFound { .. }), "{early}");
        artifacts.save_folder(&folder(dir.path(), "weights"), "checkpoints/policy").await.unwrap();
        artifacts.put("checkpoints/policy/model.safetensors", "sthgiew").await.unwrap();
        let damaged = artifacts.local_folder("checkpoints/policy").await.unwrap_err();
        assert!(matches!(damaged, Error::Damaged { .. }), "{damaged}");
    }

    #[test]
    fn what_a_shutdown_cuts_off_is_an_error_and_no_panic() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let cut_off = handle.block_on(blocking(|| Ok(()))).unwrap_err();
        assert!(matches!(cut_off, Error::Stopping), "{cut_off}");
        assert!(cut_off.is_passing(), "it is done after the restart");
    }

    #[tokio::test]
    #[should_panic = "a fault of ours"]
    async fn a_panic_of_file_work_goes_on() {
        let _ = blocking(|| -> Result<(), Error> { panic!("a fault of ours") }).await;
    }

    #[tokio::test]
    async fn the_cache_keeps_the_newest_folders() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = bucket(dir.path());
        for number in 0..CACHED_FOLDERS + 3 {
            let folder = folder(dir.path(), &number.to_string());
            artifacts.save_folder(&folder, "model").await.unwrap();
            let local = artifacts.local_folder("model").await.unwrap();
            assert_eq!(weights(&local), number.to_string());
        }
        assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), CACHED_FOLDERS);
    }

    #[tokio::test]
    async fn what_a_killed_download_left_is_removed_a_day_later_and_one_that_goes_on_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = bucket(dir.path());
        let folder = folder(dir.path(), "weights");
        artifacts.save_folder(&folder, "model").await.unwrap();
        let [left, going_on] =
            ["left", "on"].map(|name| dir.path().join("cache").join(format!("{PARTIAL}{name}")));
        for (partial, hours) in [(&left, 25), (&going_on, 23)] {
            fs::create_dir(partial).unwrap();
            fs::write(partial.join("config.json"), "{").unwrap();
            let last = SystemTime::now() - Duration::from_hours(hours);
            File::open(partial).unwrap().set_modified(last).unwrap();
        }
        artifacts.local_folder("model").await.unwrap();
        assert_eq!((left.exists(), going_on.exists()), (false, true));
    }
}
