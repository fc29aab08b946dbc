//! What watchers are told.

use crate::JobState;
use rlaif_job::StageProgress;
use serde_json::Value;

/// Something happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEvent {
    /// Its id.
    pub job: String,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Its state is now this one.
    State(JobState),
    /// A stage went on.
    Progress(StageProgress),
    /// A training step was measured.
    Metrics(Value),
}
