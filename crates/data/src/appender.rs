//! Files that a kill cannot damage: append-only JSONL, and whole files replaced at once.

use crate::Error;
use crate::atomic::AtomicFile;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Appends records to a file and puts them on disk with [`JsonlAppender::sync`].
///
/// Opening a file whose last line was torn by a crash cuts that line off: it was never
/// acknowledged, so nothing is lost.
pub struct JsonlAppender {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl JsonlAppender {
    /// Opens or creates `path`.
    ///
    /// # Errors
    /// When it cannot be opened or mended.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(Error::io(path))?;
        Ok(Self { file, path: path.to_owned(), buffer: Vec::new() })
    }

    /// Adds a record to the next [`sync`](Self::sync).
    pub fn push(&mut self, record: &impl Serialize) {
        serde_json::to_writer(&mut self.buffer, record)
            .expect("records have string keys and are written to memory");
        self.buffer.push(b'\n');
    }

    /// Writes what was pushed and waits until it is on disk.
    ///
    /// # Errors
    /// When the disk is full or gone; a part that was written is cut off on the next open.
    pub fn sync(&mut self) -> Result<(), Error> {
        let mut write = || {
            self.file.write_all(&self.buffer)?;
            self.file.sync_data()
        };
        write().map_err(Error::io(&self.path))?;
        self.buffer.clear();
        Ok(())
    }
}

/// Replaces `path` with `records`, all or nothing.
///
/// # Errors
/// When writing fails; the old file is intact.
pub fn write_jsonl_atomic<T: Serialize>(path: &Path, records: &[T]) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, record)
            .expect("records have string keys and are written to memory");
        bytes.push(b'\n');
    }
    write_atomic(path, &bytes)
}

/// Replaces `path` with `bytes`, all or nothing: written beside it, put on disk, renamed.
///
/// # Errors
/// When writing fails; the old file is intact.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes)?;
        file.commit()
    };
    write().map_err(Error::io(path))
}

/// Whether [`write_atomic`] could replace `path`, for whoever works long for what is to be written there. Nothing is
/// changed.
///
/// # Errors
/// Those of [`write_atomic`].
pub fn check_writable(path: &Path) -> Result<(), Error> {
    match path.metadata() {
        Ok(there) if there.is_dir() => Err(Error::io(path)(ErrorKind::IsADirectory.into())),
        // A pipe that is opened and closed has ended for whoever reads it.
        Ok(there) if !there.is_file() => Ok(()),
        _ => AtomicFile::create(path).map(drop).map_err(Error::io(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    #[test]
    fn a_torn_last_line_is_cut_off_and_whole_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "{\"n\":1}\n{\"n\":2}\n{\"n\":").unwrap();
        let mut log = JsonlAppender::open(&path).unwrap();
        log.push(&serde_json::json!({"n": 3}));
        log.sync().unwrap();
        let read = Reader::open(&path).unwrap().read_all(|r| Ok(r["n"].as_u64())).unwrap();
        assert_eq!(read, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn replacing_a_file_leaves_no_partial_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        write_jsonl_atomic(&path, &[1, 2]).unwrap();
        write_jsonl_atomic(&path, &[3]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn trying_a_place_changes_nothing_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("old.html"), "old").unwrap();
        check_writable(&path("old.html")).unwrap();
        check_writable(&path("new.html")).unwrap();
        assert_eq!(std::fs::read_to_string(path("old.html")).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        for nowhere in [path("nodir/new.html"), folder.path().to_owned()] {
            let error = check_writable(&nowhere).unwrap_err().to_string();
            assert!(error.contains(&nowhere.display().to_string()), "{error}");
        }
    }
}
