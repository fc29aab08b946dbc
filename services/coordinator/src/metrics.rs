//! What a coordinator measures: its queues, its jobs, and what goes out and comes in.

use crate::coordinator::Shared;
use crate::tally::JobTally;
use crate::{JobRecord, JobState, Queues, Trouble};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use rlaif_job::{StageProgress, WorkResult, WorkerKind};
use rlaif_queue::Depth;
use rlaif_service::metrics::{self, Definition, definitions, names};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Pause between two looks at the queues.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a job that has ended is still shown, so that nobody misses its last numbers; and not for
/// longer, so that a coordinator shows no more the longer it lives.
const SHOW_ENDED_MS: u64 = 15 * 60 * 1000;

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
    /// What queues hold, as of the last look; without those that were away then.
    depths: Mutex<BTreeMap<WorkerKind, Depth>>,
}

impl CoordinatorMetrics {
    /// Makes the instruments.
    pub fn new() -> Self {
        Self {
            sent: metrics::counter(&definitions::MESSAGING_SENT),
            settled: metrics::counter(&definitions::ITEMS_SETTLED),
            depths: Mutex::default(),
        }
    }

    /// No code under the guard panics or waits.
    fn depths(&self) -> MutexGuard<'_, BTreeMap<WorkerKind, Depth>> {
        self.depths.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Looks at the queues until `shutdown`.
    pub(crate) async fn measure(&self, shutdown: CancellationToken) {
        let looking = async {
            loop {
                for (kind, queue) in self.queues.each() {
                    let depth = queue.depth().await;
                    if let Ok(depth) = &depth {
                        self.standing.looked_at(kind, depth.is_full);
                    }
                    let mut depths = self.metrics.depths();
                    match depth {
                        Ok(depth) => depths.insert(kind, depth),
                        Err(_) => depths.remove(&kind),
                    };
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Shows queues and jobs for as long as this coordinator lives.
    pub(crate) fn show(self: &Arc<Self>) {
        self.observe(&definitions::QUEUE_OUTSTANDING, |shared, tell| {
            shared.each_depth(|kind, depth| tell(depth.outstanding as f64, &[destination(kind)]));
        });
        self.observe(&definitions::QUEUE_OLDEST_AGE, |shared, tell| {
            shared.each_depth(|kind, depth| {
                tell(depth.oldest_age.unwrap_or_default().as_secs_f64(), &[destination(kind)]);
            });
        });
        self.observe(&definitions::QUEUE_DEAD_LETTERS, |shared, tell| {
            shared.each_depth(|kind, depth| tell(depth.dead_letters as f64, &[destination(kind)]));
        });
        self.observe(&definitions::QUEUE_TROUBLE, |shared, tell| {
            for kind in WorkerKind::ALL {
                let worst = shared.standing.of(kind);
                for (trouble, reason) in [
                    (Trouble::Away, "away"),
                    (Trouble::StoreAway, "store_away"),
                    (Trouble::Full, "full"),
                ] {
                    let is = worst == Some(trouble);
                    let attributes = [destination(kind), KeyValue::new(names::REASON, reason)];
                    tell(f64::from(u8::from(is)), &attributes);
                }
            }
        });
        self.observe(&definitions::JOBS, |shared, tell| {
            for (state, count) in shared.board.jobs_by_state() {
                tell(count as f64, &[KeyValue::new(names::JOB_STATE, state)]);
            }
        });
        self.show_jobs(&definitions::JOB_FAILED, |job, _, tell| {
            let failed = matches!(job.state, JobState::Failed { .. });
            tell(f64::from(u8::from(failed)), &[]);
        });
        self.show_stages(&definitions::JOB_STAGE_DONE, |stage| stage.done);
        self.show_stages(&definitions::JOB_STAGE_SIZE, |stage| stage.total);
        self.show_stages(&definitions::JOB_STAGE_UNSCORABLE, |stage| stage.unscorable);
        self.show_stages(&definitions::JOB_STAGE_DEAD_LETTERS, |stage| stage.dead_letters);
        self.show_jobs(&definitions::JOB_JUDGEMENTS, |_, tally, tell| {
            for ((kind, verdict), count) in &tally.judgements {
                let kind = KeyValue::new(names::WORK_KIND, *kind);
                tell(*count as f64, &[kind, KeyValue::new(names::VERDICT, *verdict)]);
            }
        });
        self.show_jobs(&definitions::JOB_TRAINING, |_, tally, tell| {
            for ((stage, measure), value) in &tally.training {
                let stage = KeyValue::new(names::STAGE, stage.clone());
                tell(*value, &[stage, KeyValue::new(names::MEASURE, *measure)]);
            }
        });
        self.show_jobs(&definitions::JOB_TOKENS, |job, _, tell| {
            let tokens = job.used.all();
            for (which, count) in [("input", tokens.read), ("output", tokens.written)] {
                tell(count as f64, &[KeyValue::new(names::GEN_AI_TOKEN_TYPE, which)]);
            }
        });
        self.show_jobs(&definitions::JOB_MAX_TOKENS, |job, _, tell| {
            if let Some(max) = job.ceiling.max_tokens {
                tell(max as f64, &[]);
            }
        });
        self.show_jobs(&definitions::JOB_COST, |job, _, tell| {
            if let Some(cost) = job.cost() {
                tell(cost.as_dollars(), &[]);
            }
        });
        self.show_jobs(&definitions::JOB_MAX_COST, |job, _, tell| {
            if let Some(max) = job.ceiling.max_cost {
                tell(max.as_dollars(), &[]);
            }
        });
    }

    fn show_stages(
        self: &Arc<Self>,
        definition: &Definition,
        number: impl Fn(&StageProgress) -> usize + Send + Sync + 'static,
    ) {
        self.show_jobs(definition, move |job, _, tell| {
            for stage in &job.stages {
                tell(number(stage) as f64, &[KeyValue::new(names::STAGE, stage.stage.clone())]);
            }
        });
    }

    /// A gauge of each recent job; the job's own attribute is added.
    fn show_jobs(
        self: &Arc<Self>,
        definition: &Definition,
        look: impl Fn(&JobRecord, &JobTally, &mut dyn FnMut(f64, &[KeyValue])) + Send + Sync + 'static,
    ) {
        self.observe(definition, move |shared, tell| {
            for (job, tally) in shared.board.recent(SHOW_ENDED_MS) {
                let id = KeyValue::new(names::JOB_ID, job.id.clone());
                look(&job, &tally, &mut |value, attributes| {
                    tell(value, &[std::slice::from_ref(&id), attributes].concat());
                });
            }
        });
    }

    /// A gauge that ends with this coordinator.
    fn observe(
        self: &Arc<Self>,
        definition: &Definition,
        look: impl Fn(&Self, &mut dyn FnMut(f64, &[KeyValue])) + Send + Sync + 'static,
    ) {
        let shared = Arc::downgrade(self);
        metrics::observed(definition, move |gauge| {
            if let Some(shared) = shared.upgrade() {
                look(&shared, &mut |value, attributes| gauge.observe(value, attributes));
            }
        });
    }

    fn each_depth(&self, mut tell: impl FnMut(WorkerKind, Depth)) {
        self.metrics.depths().iter().for_each(|(kind, depth)| tell(*kind, *depth));
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
