//! Jobs, events and errors as they go over the wire.

use crate::{DeadItem, Error, JobEvent, JobRecord, JobState, What};
use prost_types::Timestamp;
use rlaif_job::StageProgress;
use rlaif_proto::common::v1::MetricRecord;
use rlaif_proto::coordinator::v1::{self as wire, job_event::Event};
use rlaif_proto::{Error as WireError, ErrorCode};
use rlaif_types::Money;
use serde_json::Value;
use std::time::Duration;
use tonic::Status;

/// What a client is told to wait when as many jobs run as may: jobs are long.
const BUSY_RETRY: Duration = Duration::from_secs(60);
/// The same while the queues are full: workers empty them.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// A moment in milliseconds since 1970.
pub fn timestamp(unix_ms: u64) -> Timestamp {
    let nanos = (unix_ms % 1000) as i32 * 1_000_000;
    Timestamp { seconds: (unix_ms / 1000) as i64, nanos }
}

impl From<&JobState> for wire::JobState {
    fn from(state: &JobState) -> Self {
        match state {
            JobState::Running => Self::Running,
            JobState::Paused => Self::Paused,
            JobState::Cancelled => Self::Cancelled,
            JobState::Failed { .. } => Self::Failed,
            JobState::Succeeded => Self::Succeeded,
        }
    }
}

impl From<JobRecord> for wire::Job {
    fn from(job: JobRecord) -> Self {
        let state = wire::JobState::from(&job.state).into();
        let counts = wire::JobCounts {
            unscorable: job.stages.iter().map(|stage| stage.unscorable as u64).sum(),
            dead_letters: job.dead.len() as u64,
        };
        let used = job.used.all();
        let cost = wire::Cost {
            prompt_tokens: used.read,
            amount: job.cost().map(Money::as_dollars),
            max_cost: job.ceiling.max_cost.map(Money::as_dollars),
            max_tokens: job.ceiling.max_tokens,
            completion_tokens: used.written,
        };
        let error = match job.state {
            JobState::Failed { error } => error,
            _ => String::new(),
        };
        Self {
            job_id: job.id,
            name: job.name,
            state,
            stages: job.stages.into_iter().map(stage).collect(),
            created_at: Some(timestamp(job.created_unix_ms)),
            updated_at: Some(timestamp(job.updated_unix_ms)),
            error,
            counts: Some(counts),
            cost: Some(cost),
        }
    }
}

fn stage(progress: StageProgress) -> wire::StageProgress {
    wire::StageProgress {
        stage: progress.stage,
        done: progress.done as u64,
        total: progress.total as u64,
        eta_seconds: progress.eta_seconds,
        note: progress.note,
        unscorable: progress.unscorable as u64,
        dead_letters: progress.dead_letters as u64,
    }
}

/// An event of a watcher's stream.
pub fn event(sequence: u64, unix_ms: u64, event: Event) -> wire::JobEvent {
    wire::JobEvent { sequence, occurred_at: Some(timestamp(unix_ms)), event: Some(event) }
}

/// What happened, for a watcher's stream; none where the job was deleted, which ends the stream.
pub fn happened(told: JobEvent) -> Option<wire::JobEvent> {
    let what = match told.what {
        What::State { before, now } => Event::StateChanged(wire::StateChanged {
            from: wire::JobState::from(&before).into(),
            to: wire::JobState::from(&now).into(),
        }),
        What::Progress(progress) => Event::StageProgress(stage(progress)),
        What::Metrics(record) => Event::Metrics(metrics(&record)),
        What::Deleted => return None,
    };
    Some(event(told.sequence, told.unix_ms, what))
}

/// How a job is now, for a stream that begins.
pub fn as_it_is(job: &JobRecord) -> Vec<wire::JobEvent> {
    let to = wire::JobState::from(&job.state).into();
    let state = Event::StateChanged(wire::StateChanged { from: 0, to });
    let stages = job.stages.iter().cloned().map(|progress| Event::StageProgress(stage(progress)));
    let all = [state].into_iter().chain(stages);
    all.map(|what| event(job.sequence, job.updated_unix_ms, what)).collect()
}

/// The numbers of a record of `metrics.jsonl`.
fn metrics(record: &Value) -> MetricRecord {
    let fields = record.as_object().into_iter().flatten();
    let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_f64()?));
    MetricRecord {
        stage: record["stage"].as_str().unwrap_or_default().to_owned(),
        step: record["step"].as_u64().unwrap_or_default(),
        values: fields.filter(|(name, _)| *name != "step").filter_map(number).collect(),
    }
}

impl From<DeadItem> for wire::DeadLetter {
    fn from(item: DeadItem) -> Self {
        let death = item.letter.death;
        Self {
            dead_letter_id: item.task.to_string(),
            stage: item.task.stage().to_owned(),
            error: death.error,
            attempts: u32::try_from(death.attempts.len()).unwrap_or(u32::MAX),
            failed_at: death.attempts.last().map(|last| timestamp(last.unix_ms)),
            payload: item.letter.item.payload.into(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let of = |code| WireError::new(code, message.clone());
        let told = match error {
            Error::UnknownJob(_) | Error::Deleted(_) => of(ErrorCode::NotFound),
            Error::KeyOfDeleted(_) => of(ErrorCode::AlreadyExists),
            Error::Busy { .. } => WireError::busy(message, BUSY_RETRY),
            Error::QueueFull => WireError::busy(message, FULL_RETRY),
            Error::WrongState { .. }
            | Error::Needed { .. }
            | Error::DeadLetters(_)
            | Error::NoPrice(_)
            | Error::SpentUp(_) => of(ErrorCode::WrongState),
            error if error.is_passing() => of(ErrorCode::Unavailable),
            _ => {
                tracing::error!("{message}");
                of(ErrorCode::Internal)
            }
        };
        told.into()
    }
}
