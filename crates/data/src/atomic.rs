//! A file that has its name only once it is whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Written beside its place, put on disk, renamed. Dropped before [`commit`](Self::commit), it is
/// removed, and what was at its place stays.
pub(crate) struct AtomicFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    is_committed: bool,
}

impl AtomicFile {
    /// Begins to replace `path`.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = File::create(&partial)?;
        Ok(Self { file, partial, path: path.to_owned(), is_committed: false })
    }

    /// Puts what was written on disk and in its place.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.partial, &self.path)?;
        self.is_committed = true;
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
        if !self.is_committed {
            // Nothing depends on it: the next try begins the same file anew.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
