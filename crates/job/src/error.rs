//! What stops a job.

use crate::TaskId;
use std::path::{Path, PathBuf};

/// An error of a job or its folder.
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
    /// Settings that do not go together.
    #[error("{0}")]
    Settings(String),
    /// The run folder is not what the command needs.
    #[error("{path}: {what}", path = path.display())]
    RunFolder {
        /// The folder, or a file in it.
        path: PathBuf,
        /// What, and how to mend it.
        what: String,
    },
    /// A stage cannot be done, however often it is tried.
    #[error("{stage}: {what}")]
    Stage {
        /// Which.
        stage: &'static str,
        /// Why, and how to mend it.
        what: String,
    },
    /// An answer that is none to what its task asks.
    #[error("task {task} was answered with {what}; do all workers have this version?")]
    WrongAnswer {
        /// Which.
        task: TaskId,
        /// What came, and what it asks for.
        what: String,
    },
    /// All results of a stage together are of no use. Only other results help: these are to be forgotten.
    #[error("{what}")]
    Fruitless {
        /// Which.
        stage: &'static str,
        /// Why, and how to mend it.
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
    /// A template.
    #[error(transparent)]
    Template(#[from] rlaif_template::Error),
    /// Data.
    #[error(transparent)]
    Data(#[from] rlaif_data::Error),
}

impl Error {
    /// An error of the file at `path`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// A complaint about the run folder, or a file in it.
    pub fn run_folder(path: &Path, what: impl Into<String>) -> Self {
        Self::RunFolder { path: path.to_owned(), what: what.into() }
    }
}
