//! What a watcher of a job is told.

use crate::JobState;
use rlaif_job::StageProgress;
use serde_json::Value;

/// Something happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEvent {
    /// Its id.
    pub job: String,
    /// Counts up within the job.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Its state is another.
    State {
        /// Until now.
        before: JobState,
        /// From now on.
        now: JobState,
    },
    /// A stage went on.
    Progress(StageProgress),
    /// A training step was measured.
    Metrics(Value),
    /// It is no more.
    Deleted,
}
