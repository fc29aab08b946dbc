//! What stops the coordinator, or one of its calls.

use crate::{JobRecord, JobState};
use std::any::Any;

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
    /// Opening a job panicked, with this message.
    #[error(
        "opening it panicked: {0}; that is a mistake in this program, whose log says where. Nothing it has \
         done is lost: look whether its run folder is whole, or resume it with another version"
    )]
    Panicked(String),
    /// There is no such job.
    #[error("no job {0:?}")]
    UnknownJob(String),
    /// There was such a job.
    #[error("job {0} was deleted")]
    Deleted(String),
    /// The submission key of a job that was deleted.
    #[error(
        "the key was used for job {0}, which was deleted; choose another key: rlaif submit --new"
    )]
    KeyOfDeleted(String),
    /// The job cannot be deleted while another needs it.
    #[error(
        "job {id} is needed: job {by}, which may still go on, names its {model}; cancel that first"
    )]
    Needed {
        /// Which.
        id: String,
        /// The job that needs it.
        by: String,
        /// The model that it names.
        model: String,
    },
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
    /// The queues are full.
    #[error("the queues are full; try again when workers have caught up")]
    QueueFull,
    /// A queue is away, and with it whatever takes it.
    #[error("the queue does not answer; try again when it is back")]
    QueueAway,
    /// The job is not in a state for what was asked.
    #[error("job {id} {state}: {what}")]
    WrongState {
        /// Which.
        id: String,
        /// Where it stands.
        state: &'static str,
        /// Why that does not do, or what would.
        what: &'static str,
    },
    /// A job whose labeler has no price, and cannot be bounded by its cost.
    #[error("job {0} names no labeler.price, so its cost is not known; bound its tokens instead")]
    NoPrice(String),
    /// What the job may spend is spent.
    #[error("{0}")]
    SpentUp(String),
    /// Items of the job were given up, and it cannot end without them.
    #[error(
        "items of job {0} were given up; mend what made them fail, then: rlaif dead-letters {0} requeue --all"
    )]
    DeadLetters(String),
}

impl Error {
    pub(crate) fn wrong_state(job: &JobRecord, what: &'static str) -> Self {
        let state = match job.state {
            JobState::Running => "is running",
            JobState::Paused => "is paused",
            JobState::Cancelled => "was cancelled",
            JobState::Failed { .. } => "has failed",
            JobState::Succeeded => "has succeeded",
        };
        Self::WrongState { id: job.id.clone(), state, what }
    }

    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Self::Panicked(text.unwrap_or("without a message").to_owned())
    }

    /// Whether it passes by itself: something that the coordinator needs is away.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Queue(_) | Self::QueueAway) || self.is_store_away()
    }

    /// Whether the artifact store is away.
    pub fn is_store_away(&self) -> bool {
        matches!(self, Self::Artifacts(error) if error.is_passing())
    }
}
