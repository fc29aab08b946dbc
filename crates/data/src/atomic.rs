//! A file that has its name only once it is whole. What is no file, such as a pipe or `/dev/null`, is written to as it
//! is: it has no place of its own to be replaced.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Written beside its place, put on disk, renamed. Dropped before [`commit`](Self::commit), it is
/// removed, and what was at its place stays.
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
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            let file = File::options().write(true).open(path)?;
            return Ok(Self { file, partial: None });
        }
        let partial = Self::partial_of(path);
        let file = File::create(&partial)?;
        Ok(Self { file, partial: Some((partial, path.to_owned())) })
    }

    /// Where what is to replace `path` is written.
    pub(crate) fn partial_of(path: &Path) -> PathBuf {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        path.with_file_name(name)
    }

    /// Puts what was written on disk and in its place.
    ///
    /// # Errors
    /// When the disk is full or gone; what was at its place stays.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some((partial, path)) = self.partial.take() {
            let renamed = self.file.sync_all().and_then(|()| std::fs::rename(&partial, path));
            if renamed.is_err() {
                let _ = std::fs::remove_file(&partial);
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
            // Nothing depends on it: the next try begins the same file anew.
            let _ = std::fs::remove_file(partial);
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
        assert!(!std::fs::metadata(&pipe).unwrap().is_file());
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}
