//! What stops the coordinator, or one of its calls.

/// An error of the coordinator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job, its data or its folder.
    #[error(transparent)]
    Job(#[from] rlaif_job::Error),
    /// The journal cannot be read or written.
    #[error("the journal {path}: {what}", path = path.display())]
    Journal {
        /// Its file.
        path: std::path::PathBuf,
        /// What happened.
        what: String,
    },
    /// The queue.
    #[error(transparent)]
    Queue(#[from] rlaif_queue::Error),
    /// The artifact store.
    #[error(transparent)]
    Artifacts(#[from] rlaif_artifacts::Error),
    /// There is no such job.
    #[error("no job {0:?}")]
    UnknownJob(String),
    /// A result that is not one.
    #[error("the result of {item} is unreadable: {what}; do all workers have this version?")]
    Unreadable {
        /// Whose.
        item: String,
        /// What is wrong.
        what: String,
    },
    /// Too many jobs at once.
    #[error(
        "{running} jobs are running, as many as this coordinator takes; try again when one ends"
    )]
    Busy {
        /// How many.
        running: usize,
    },
}
