//! Jobs, dead letters and workers as the page reads them: the messages of `JobService` as JSON.

use crate::Trouble;
use crate::crew::{Crew, Done, HeldTask, Seen};
use prost_types::Timestamp;
use rlaif_proto::coordinator::v1 as wire;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// Bytes of an item that are shown; the rest is of no use to a person.
const MAX_ITEM_BYTES: usize = 2048;

/// A job.
#[derive(Debug, Serialize)]
pub struct Job {
    id: String,
    name: String,
    state: String,
    error: String,
    created_unix_ms: i64,
    updated_unix_ms: i64,
    stages: Vec<Stage>,
    unscorable: u64,
    dead_letters: u64,
    /// Tokens that labelers read.
    prompt_tokens: u64,
    /// Tokens that they wrote.
    completion_tokens: u64,
    /// What both cost, in dollars; none where the job names no price.
    amount: Option<f64>,
    /// What they may cost, in dollars; none where the job sets no bound.
    max_cost: Option<f64>,
    /// How many tokens they may read and write; none where the job sets no bound.
    max_tokens: Option<u64>,
}

/// How far a stage is.
#[derive(Debug, Serialize)]
pub struct Stage {
    stage: String,
    done: u64,
    total: u64,
    eta_seconds: Option<f64>,
    note: String,
    unscorable: u64,
    dead_letters: u64,
}

impl From<wire::Job> for Job {
    fn from(job: wire::Job) -> Self {
        let (counts, cost) = (job.counts.unwrap_or_default(), job.cost.unwrap_or_default());
        Self {
            state: word(job.state().as_str_name(), "JOB_STATE_"),
            id: job.job_id,
            name: job.name,
            error: job.error,
            created_unix_ms: unix_ms(job.created_at),
            updated_unix_ms: unix_ms(job.updated_at),
            stages: job.stages.into_iter().map(Into::into).collect(),
            unscorable: counts.unscorable,
            dead_letters: counts.dead_letters,
            prompt_tokens: cost.prompt_tokens,
            completion_tokens: cost.completion_tokens,
            amount: cost.amount,
            max_cost: cost.max_cost,
            max_tokens: cost.max_tokens,
        }
    }
}

impl From<wire::StageProgress> for Stage {
    fn from(stage: wire::StageProgress) -> Self {
        Self {
            stage: stage.stage,
            done: stage.done,
            total: stage.total,
            eta_seconds: stage.eta_seconds,
            note: stage.note,
            unscorable: stage.unscorable,
            dead_letters: stage.dead_letters,
        }
    }
}

/// A page of jobs.
#[derive(Debug, Serialize)]
pub struct Jobs {
    jobs: Vec<Job>,
    /// Asks for the next page; empty at the last.
    next: String,
}

impl From<wire::ListJobsResponse> for Jobs {
    fn from(page: wire::ListJobsResponse) -> Self {
        Self { jobs: page.jobs.into_iter().map(Into::into).collect(), next: page.next_page_token }
    }
}

/// An item that was given up.
#[derive(Debug, Serialize)]
pub struct DeadLetter {
    id: String,
    stage: String,
    error: String,
    attempts: u32,
    failed_unix_ms: i64,
    /// The beginning of the item.
    item: String,
}

/// A page of dead letters.
#[derive(Debug, Serialize)]
pub struct DeadLetters {
    dead_letters: Vec<DeadLetter>,
    next: String,
}

impl From<wire::ListDeadLettersResponse> for DeadLetters {
    fn from(page: wire::ListDeadLettersResponse) -> Self {
        let letter = |letter: wire::DeadLetter| DeadLetter {
            id: letter.dead_letter_id,
            stage: letter.stage,
            error: letter.error,
            attempts: letter.attempts,
            failed_unix_ms: unix_ms(letter.failed_at),
            item: beginning(&letter.payload),
        };
        let dead_letters = page.dead_letters.into_iter().map(letter).collect();
        Self { dead_letters, next: page.next_page_token }
    }
}

/// All workers of a kind.
#[derive(Debug, Serialize)]
pub struct Workers {
    kind: rlaif_job::WorkerKind,
    lease_ms: u64,
    /// `full`, or why nothing is known.
    trouble: Option<String>,
    /// Items accepted and not settled; none where that is not known.
    outstanding: Option<u64>,
    workers: Vec<Worker>,
}

/// A worker.
#[derive(Debug, Serialize)]
pub struct Worker {
    name: String,
    /// How long its queue has not heard of it; none where the queue does not know it.
    silent_ms: Option<u64>,
    held: Vec<Held>,
    /// Items done since the coordinator started, and what they consist of.
    items: u64,
    parts: u64,
    busy_seconds: f64,
    last_minute: usize,
    since_last_ms: Option<u64>,
}

/// A task in a worker's hand.
#[derive(Debug, Serialize)]
pub struct Held {
    job: String,
    task: String,
    starts: u32,
    is_started: bool,
    silent_ms: u64,
}

impl From<Crew> for Workers {
    fn from(crew: Crew) -> Self {
        let (outstanding, mut seen, why) = match crew.at_queue {
            Ok(known) => (Some(known.outstanding), known.workers, None),
            Err(why) => (None, Default::default(), Some(why)),
        };
        let trouble = crew.trouble.and_then(|trouble| match trouble {
            // Why nothing is known of it.
            Trouble::Away => None,
            Trouble::StoreAway => Some("the artifact store does not answer".to_owned()),
            Trouble::Full => Some("full".to_owned()),
        });
        let mut done = crew.done;
        let names: BTreeSet<String> = seen.keys().chain(done.keys()).cloned().collect();
        let worker = |name: String| {
            let (seen, done) = (seen.remove(&name), done.remove(&name).unwrap_or_default());
            Worker::new(name, seen, &done)
        };
        Self {
            kind: crew.kind,
            lease_ms: ms(crew.lease),
            trouble: why.or(trouble),
            outstanding,
            workers: names.into_iter().map(worker).collect(),
        }
    }
}

impl Worker {
    fn new(name: String, seen: Option<Seen>, done: &Done) -> Self {
        let held = |task: HeldTask| Held {
            job: task.job,
            task: task.task.to_string(),
            starts: task.starts,
            is_started: task.is_started,
            silent_ms: ms(task.silent),
        };
        Self {
            name,
            silent_ms: seen.as_ref().map(|seen| ms(seen.silent)),
            held: seen.into_iter().flat_map(|seen| seen.held).map(held).collect(),
            items: done.items,
            parts: done.parts,
            busy_seconds: done.busy_seconds,
            last_minute: done.last_minute(),
            since_last_ms: done.since_last().map(ms),
        }
    }
}

/// `JOB_STATE_RUNNING` as `running`.
fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase()
}

fn unix_ms(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_ITEM_BYTES)]);
    if bytes.len() > MAX_ITEM_BYTES { format!("{text}…") } else { text.into_owned() }
}
