//! A file that has its name only once it is whole. What is no file, such as a pipe or `/dev/null`, is written to as it
//! is: it has no place of its own to be replaced.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Written beside its place, put on disk, renamed. Dropped before [`commit`](Self::commit), it is
/// removed, and what was at its place stays.
///
/// Until then it has a hidden name that no other file has, and is locked. What a kill leaves is not locked any more:
/// whoever replaces the same file next removes it.
pub struct AtomicFile {
    file: File,
    /// Where it is written, and its place; none where it is written at its place.
    partial: Option<(PathBuf, PathBuf)>,
}

impl AtomicFile {
    /// Begins to replace `path`.
    ///
    /// # Errors
    /// When no file can be made beside it.
    pub fn create(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { file, partial: None });
        }
        remove_abandoned(path);
        let (file, partial) = begin(path)?;
        Ok(Self { file, partial: Some((partial, path.to_owned())) })
    }

    /// Puts what was written on disk and in its place.
    ///
    /// # Errors
    /// When the disk is full or gone; what was at its place stays.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some((partial, path)) = self.partial.take() {
            let renamed = self.file.sync_all().and_then(|()| fs::rename(&partial, path));
            if renamed.is_err() {
                let _ = fs::remove_file(&partial);
            }
            renamed?;
        }
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some((partial, _)) = &self.partial {
            // Nothing depends on it, and the next try removes it.
            let _ = fs::remove_file(partial);
        }
    }
}

/// How the names begin of files that are to replace `path`.
fn prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".rlaif-partial-");
    prefix
}

/// A new file that is to replace `path`, locked, and where it is.
fn begin(path: &Path) -> io::Result<(File, PathBuf)> {
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = prefix(path);
        name.push(format!("{}-{}", process::id(), BEGUN.fetch_add(1, Ordering::Relaxed)));
        let partial = path.with_file_name(name);
        let file = match File::create_new(&partial) {
            // Of a process that had the same number, in another container or before a restart.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            created => created?,
        };
        // A file system without locks is fine, too: there nothing is taken for abandoned.
        let is_locked = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        // Before it was locked it may have been taken for abandoned.
        if is_locked && partial.exists() {
            return Ok((file, partial));
        }
    }
}

/// Removes what was to replace `path` and was left by processes that were killed: nobody holds its lock.
fn remove_abandoned(path: &Path) {
    let begins = prefix(path);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // What cannot be looked at or removed costs room, no more.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_partial =
            entry.file_name().as_encoded_bytes().starts_with(begins.as_encoded_bytes());
        if !is_partial || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let partial = entry.path();
        let Ok(file) = File::options().write(true).open(&partial) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::Command;

    /// A pipe stands for all that is no file: a test run by root must not be able to replace the real `/dev/null`.
    #[test]
    fn what_is_no_file_is_written_to_and_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut said = String::new();
                File::open(pipe).unwrap().read_to_string(&mut said).unwrap();
                said
            }
        });
        let mut file = AtomicFile::create(&pipe).unwrap();
        file.write_all(b"hello").unwrap();
        file.commit().unwrap();
        assert_eq!(reader.join().unwrap(), "hello");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_of_somebody_else_beside_it_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("out.jsonl.partial"), "somebody's").unwrap();
        let mut file = AtomicFile::create(&at("out.jsonl")).unwrap();
        file.write_all(b"whole").unwrap();
        file.commit().unwrap();
        drop(AtomicFile::create(&at("out.jsonl")).unwrap());
        assert_eq!(fs::read_to_string(at("out.jsonl.partial")).unwrap(), "somebody's");
        assert_eq!(fs::read_to_string(at("out.jsonl")).unwrap(), "whole");
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_others_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for left in [".out.rlaif-partial-1-0", ".out.rlaif-partial-1-1"] {
            fs::write(at(left), "half").unwrap();
        }
        let mut first = AtomicFile::create(&at("out")).unwrap();
        let mut second = AtomicFile::create(&at("out")).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "the two that are being written"
        );
        first.write_all(b"first").unwrap();
        second.write_all(b"second").unwrap();
        first.commit().unwrap();
        second.commit().unwrap();
        assert_eq!(fs::read_to_string(at("out")).unwrap(), "second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
