//! What stops a run.

use std::path::{Path, PathBuf};

/// An error of a run. Finished work is in the run folder, and `--resume` goes on from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job file says something senseless.
    #[error("{path}: {what}", path = path.display())]
    Job {
        /// The file.
        path: PathBuf,
        /// What, and how to mend it.
        what: String,
    },
    /// The run folder is not what the command needs.
    #[error("{path}: {what}", path = path.display())]
    RunFolder {
        /// The folder, or a file in it.
        path: PathBuf,
        /// What, and how to mend it.
        what: String,
    },
    /// There is nothing to work on.
    #[error("{0}")]
    NothingToDo(String),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Data.
    #[error(transparent)]
    Data(#[from] rlaif_data::Error),
    /// A model that is not on disk.
    #[error(transparent)]
    Hub(#[from] rlaif_hub::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] rlaif_models::Error),
    /// The labeler.
    #[error(transparent)]
    Judge(#[from] rlaif_judge::Error),
    /// A saved training state.
    #[error("{0}; delete the run folder's state/ to train this stage from its start")]
    State(#[from] rlaif_rl::StateError),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn run_folder(path: &Path, what: impl Into<String>) -> Self {
        Self::RunFolder { path: path.to_owned(), what: what.into() }
    }
}
