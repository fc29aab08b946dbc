//! What can be wrong with a dataset.

use std::path::{Path, PathBuf};

/// An error that says where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written, or it ends or breaks off where it should not.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record is not what it should be; what follows it can still be read.
    #[error("{source_name}:{line}: {what}")]
    Line {
        /// File name, or `<stdin>`.
        source_name: String,
        /// Its line, from 1; in a Parquet file, which has no lines, its row.
        line: usize,
        /// What is wrong and what was expected.
        what: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
