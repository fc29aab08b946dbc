//! What a coordinator measures: its queues, its jobs, and what goes out and comes in.

use crate::coordinator::Shared;
use crate::{JobState, Queues};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge};
use rlaif_job::{WorkResult, WorkerKind};
use rlaif_service::metrics::{self, names};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at what is measured by looking.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It has a result.
    Done,
    /// Its result is that it cannot be done.
    Impossible,
    /// It was given up.
    Dead,
}

impl Settled {
    /// What a result means for its item.
    pub fn with(result: &WorkResult) -> Self {
        match result {
            WorkResult::Impossible(_) => Self::Impossible,
            _ => Self::Done,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Impossible => "impossible",
            Self::Dead => "dead",
        }
    }
}

/// Instruments of a coordinator; silent where telemetry was not started.
pub struct CoordinatorMetrics {
    sent: Counter<u64>,
    settled: Counter<u64>,
    outstanding: Gauge<u64>,
    jobs: Gauge<u64>,
}

impl CoordinatorMetrics {
    /// Makes the instruments.
    pub fn new() -> Self {
        Self {
            sent: metrics::counter(names::MESSAGING_SENT, "{item}", "Items handed out."),
            settled: metrics::counter(
                names::ITEMS_SETTLED,
                "{item}",
                "Items whose results, or deaths, were taken in.",
            ),
            outstanding: metrics::gauge(
                names::QUEUE_OUTSTANDING,
                "{item}",
                "Items accepted and not settled, whether or not a worker has them.",
            ),
            jobs: metrics::gauge(names::JOBS, "{job}", "Jobs, by where they stand."),
        }
    }

    /// A queue took `count` items.
    pub fn sent(&self, queues: &Queues, kind: WorkerKind, count: usize) {
        let system = KeyValue::new(names::MESSAGING_SYSTEM, queues.of(kind).system());
        let operation = KeyValue::new(names::MESSAGING_OPERATION_NAME, "send");
        self.sent.add(count as u64, &[system, operation, destination(kind)]);
    }

    /// What came of an item is known and in the journal.
    pub fn settled(&self, kind: WorkerKind, how: Settled) {
        let outcome = KeyValue::new(names::WORK_OUTCOME, how.name());
        self.settled.add(1, &[destination(kind), outcome]);
    }
}

fn destination(kind: WorkerKind) -> KeyValue {
    KeyValue::new(names::MESSAGING_DESTINATION_NAME, kind.queue())
}

impl Shared {
    /// Looks at queues and jobs until `shutdown`. A queue that is away is left out.
    pub(crate) async fn measure(&self, shutdown: CancellationToken) {
        let looking = async {
            loop {
                self.look().await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn look(&self) {
        for (state, count) in self.board.jobs_by_state() {
            self.metrics.jobs.record(count, &[KeyValue::new(names::JOB_STATE, state)]);
        }
        for (kind, queue) in self.queues.each() {
            if let Ok(outstanding) = queue.outstanding().await {
                self.metrics.outstanding.record(outstanding, &[destination(kind)]);
            }
        }
    }
}

impl JobState {
    /// The state in a word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
            Self::Succeeded => "succeeded",
        }
    }

    /// All words for states.
    pub(crate) const NAMES: [&str; 5] = ["running", "paused", "cancelled", "failed", "succeeded"];
}
