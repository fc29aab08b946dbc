//! What can be wrong with an artifact.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's address is none that this build knows.
    #[error("artifact store {url:?}: {what}")]
    BadUrl {
        /// As configured.
        url: String,
        /// What is wrong, and what would do.
        what: String,
    },
    /// A name that is no relative path of plain words, or leads out of the job's prefix.
    #[error("{name:?} is no name of an artifact: {what}")]
    BadName {
        /// As asked for.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is no such artifact.
    #[error("no artifact {name}")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// What is stored is not what was put there.
    #[error("artifact {name} is damaged: {what}")]
    Damaged {
        /// Its name.
        name: String,
        /// How it differs.
        what: String,
    },
    /// A message beyond what even the store takes.
    #[error("a message of {bytes} bytes is too large: at most {limit} are taken")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The store failed.
    #[error("artifact {name}: {source}{hint}", hint = way_out(source))]
    Store {
        /// What was read; what was written, with the local folder that it was for.
        name: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A local file could not be read or written.
    #[error("{path}: {source}{hint}", path = path.display(), hint = way_out(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program ends, and what was to be read or written was not begun.
    #[error("the program is stopping: the artifact store does nothing more")]
    Stopping,
}

impl Error {
    /// Whether the store, or a disk, does not do what it could another time: it passes by itself. All
    /// else is so however often it is tried; a disk that is full has somebody to make room.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Store { source, .. } => !is_full(source),
            Self::Io { source, .. } => !is_full(source),
            Self::Stopping => true,
            _ => false,
        }
    }

    pub(crate) fn store(name: &str) -> impl FnOnce(object_store::Error) -> Self {
        let name = name.to_owned();
        move |source| match source {
            object_store::Error::NotFound { .. } => Self::NotFound { name },
            source => Self::Store { name, source },
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn damaged(name: &str, what: impl Into<String>) -> Self {
        Self::Damaged { name: name.to_owned(), what: what.into() }
    }
}

/// Whether there was no room on a disk.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        })
    })
}

/// What mends it, where somebody has to.
fn way_out(error: &(dyn std::error::Error + 'static)) -> &'static str {
    match is_full(error) {
        true => "; make room there and resume: what was kept before is intact",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_does_not_pass_by_itself() {
        let of_disk = |kind: io::ErrorKind| Error::Io { path: "there".into(), source: kind.into() };
        let of_store = |kind: io::ErrorKind| {
            let source = Box::new(io::Error::from(kind));
            Error::store("there")(object_store::Error::Generic { store: "LocalFileSystem", source })
        };
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge] {
            for error in [of_disk(kind), of_store(kind)] {
                assert!(!error.is_passing() && error.to_string().contains("make room"), "{error}");
            }
        }
        let kind = io::ErrorKind::ConnectionRefused;
        for error in [of_disk(kind), of_store(kind)] {
            assert!(error.is_passing() && !error.to_string().contains("make room"), "{error}");
        }
    }
}
