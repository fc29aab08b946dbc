//! The loop between a queue and an executor.

use crate::work_metrics::{Outcome, WorkMetrics};
use crate::{Advance, Executor, Progress, spans};
use rlaif_artifacts::{ArtifactStore, Payload};
use rlaif_job::{Answer, StageProgress, Tokens, WorkItem, WorkResult, WorkerKind};
use rlaif_queue::{Delivery, Lease, OneByOne, Queue};
use rlaif_service::metrics::names;
use rlaif_service::telemetry;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// Progress messages on their way to the queue; more than that and the newest are dropped.
const PROGRESS_BUFFER: usize = 64;

/// Where one kind of worker works on the items of its queue.
pub struct Bench {
    kind: WorkerKind,
    worker: String,
    executor: Arc<dyn Executor>,
    store: ArtifactStore,
}

impl Bench {
    /// A bench for `executor`. `worker` is what results and attempts are recorded under.
    pub fn new(
        kind: WorkerKind,
        worker: impl Into<String>,
        executor: Arc<dyn Executor>,
        store: ArtifactStore,
    ) -> Self {
        Self { kind, worker: worker.into(), executor, store }
    }

    /// Takes work from a queue until `shutdown`, one item at a time: a device does one thing at a
    /// time. The next is fetched meanwhile.
    ///
    /// An item in hand at shutdown is given back at once, for another worker to begin anew.
    ///
    /// # Errors
    /// When the queue fails for good.
    pub async fn serve(
        &self,
        queue: &Queue,
        shutdown: CancellationToken,
    ) -> Result<(), rlaif_queue::Error> {
        let metrics = WorkMetrics::of(queue, self.kind.queue());
        let at_queue = AtQueue { bench: self, queue, metrics, shutdown: &shutdown };
        queue.consumer(&self.worker).one_by_one(&at_queue, &shutdown).await
    }

    async fn read(&self, lease: &Lease) -> Result<WorkItem, String> {
        let artifacts =
            self.store.job(spans::job_of(lease.id().as_str())).map_err(|e| e.to_string())?;
        let payload = Payload::from_wire(lease.payload()).map_err(|e| e.to_string())?;
        let message = payload.message(&artifacts).await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&message)
            .map_err(|e| format!("the item is unreadable: {e}; do all services have this version?"))
    }

    async fn pack(
        &self,
        item: &WorkItem,
        result: WorkResult,
        tokens: Tokens,
        started: Instant,
    ) -> Result<Vec<u8>, String> {
        let seconds = started.elapsed().as_secs_f64();
        let answer = Answer { result, seconds, worker: self.worker.clone(), tokens };
        let bytes = serde_json::to_vec(&answer).expect("answers are plain data");
        let artifacts = self.store.job(&item.job).map_err(|e| e.to_string())?;
        let payload = Payload::of(&artifacts, bytes).await.map_err(|e| e.to_string())?;
        Ok(payload.to_wire())
    }
}

/// A bench at its queue.
struct AtQueue<'a> {
    bench: &'a Bench,
    queue: &'a Queue,
    metrics: WorkMetrics,
    shutdown: &'a CancellationToken,
}

impl OneByOne for AtQueue<'_> {
    /// The span is the item's, from before its start to after its settling.
    type Begun = (Lease, Span);

    async fn start(&self, delivery: Delivery) -> Result<Option<Self::Begun>, rlaif_queue::Error> {
        let span = spans::processing(self.queue, self.bench.kind.queue(), &delivery);
        let trace = telemetry::traceparent(&span).unwrap_or_default();
        let Some(lease) = delivery.start_in(&trace).await? else { return Ok(None) };
        spans::started(&span, &lease);
        Ok(Some((lease, span)))
    }

    async fn work(
        &self,
        (lease, span): Self::Begun,
        worked: &CancellationToken,
    ) -> Result<(), rlaif_queue::Error> {
        self.work_on(lease, worked).instrument(span).await
    }
}

impl AtQueue<'_> {
    async fn work_on(
        &self,
        lease: Lease,
        worked: &CancellationToken,
    ) -> Result<(), rlaif_queue::Error> {
        let span = Span::current();
        let item = match self.bench.read(&lease).await {
            Ok(item) => item,
            Err(why) => {
                span.record("otel.status_code", "ERROR");
                return lease.fail(&why).await.map(drop);
            }
        };
        let (kind, started) = (item.work.kind(), Instant::now());
        span.record(names::WORK_KIND, kind);
        let _active = self.metrics.begun(kind);
        let note = |outcome: Outcome| {
            span.record(names::WORK_OUTCOME, outcome.name());
            self.metrics.item(kind, outcome, started.elapsed());
        };
        let (sender, mut messages) = mpsc::channel(PROGRESS_BUFFER);
        let told = Arc::new(ToQueue { sender, used: Mutex::default() });
        let mut work = tokio::task::spawn_blocking({
            let (executor, item, told, span) =
                (self.bench.executor.clone(), item.clone(), told.clone(), span.clone());
            move || span.in_scope(|| executor.execute(&item, &*told))
        });
        let outcome = loop {
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    note(Outcome::Released);
                    return lease.release().await.map(drop);
                }
                // Another worker has the item; whatever comes of this one would be refused.
                () = lease.lost().cancelled() => {
                    tracing::warn!(item = %lease.id(), "the lease was lost");
                    note(Outcome::Lost);
                    return Ok(());
                }
                Some(message) = messages.recv() => {
                    // Advisory: the work goes on where it cannot be told.
                    if let Err(error) = lease.progress(&message).await {
                        tracing::debug!(%error, "progress was not told");
                    }
                }
                outcome = &mut work => break outcome,
            }
        };
        let failure = match outcome {
            Ok(Ok(result)) => {
                let (outcome, tokens) = (Outcome::of(&result), told.used());
                self.metrics.tokens(kind, tokens);
                match self.bench.pack(&item, result, tokens, started).await {
                    Ok(payload) => {
                        note(outcome);
                        worked.cancel();
                        return lease.commit(payload).await.map(drop);
                    }
                    Err(why) => why,
                }
            }
            Ok(Err(retry)) => retry.to_string(),
            Err(panic) => format!("the worker's thread panicked: {panic}"),
        };
        note(Outcome::Failed);
        span.record("otel.status_code", "ERROR");
        tracing::warn!(item = %lease.id(), attempt = lease.attempt(), "work failed: {failure}");
        worked.cancel();
        lease.fail(&failure).await.map(drop)
    }
}

/// Sends progress through the queue, advisory, so what does not fit is dropped; and sums up what
/// models were used for.
struct ToQueue {
    sender: mpsc::Sender<Vec<u8>>,
    used: Mutex<Tokens>,
}

impl ToQueue {
    /// Nothing panics under the lock.
    fn used(&self) -> Tokens {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for ToQueue {
    fn advance(&self, advance: &Advance<'_>) {
        let note = advance.note.to_owned();
        let progress = StageProgress::new(advance.stage, advance.done, advance.total);
        let progress = StageProgress { note, ..progress };
        let bytes = serde_json::to_vec(&progress).expect("progress is plain data");
        let _ = self.sender.try_send(bytes);
    }

    /// The result carries every record.
    fn measured(&self, _record: &Value) {}

    fn used(&self, tokens: Tokens) {
        let call = Span::current();
        call.record(names::GEN_AI_USAGE_INPUT_TOKENS, tokens.read);
        call.record(names::GEN_AI_USAGE_OUTPUT_TOKENS, tokens.written);
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) += tokens;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Retry;
    use rlaif_job::{CheckLabeler, ModelRef, TaskId, Work};
    use rlaif_queue::{Item, Options, Outcome, Position};
    use serde_json::json;
    use std::time::Duration;

    /// Does everything at once.
    struct Diligent;

    impl Executor for Diligent {
        fn execute(&self, _: &WorkItem, _: &dyn Progress) -> Result<WorkResult, Retry> {
            Ok(WorkResult::Rewards(Vec::new()))
        }
    }

    /// An item that this version understands.
    fn understood() -> Value {
        let model = ModelRef::Named("a-model".to_owned());
        let work = Work::CheckLabeler(CheckLabeler { model, templates: Vec::new() });
        let item = WorkItem { job: "job-1".to_owned(), task: TaskId::CheckLabeler, work };
        serde_json::to_value(item).unwrap()
    }

    /// The same with another value at `pointer`; nothing there for null.
    fn with(pointer: &str, value: Value) -> Value {
        let mut item = understood();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = item.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => parent.remove(field),
            value => parent.insert(field.to_owned(), value),
        };
        item
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_item_of_another_version_becomes_a_dead_letter_that_says_so_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open(&dir.path().display().to_string(), dir.path()).unwrap();
        let options = Options { max_starts: 1, ..Options::default() };
        let queue = Queue::in_memory(options).unwrap();
        let foreign = [
            with("/work/kind", json!("distil")),
            with("/work/model", json!({"sharded": "a-model"})),
            with("/task", json!("distil/3")),
            with("/work/templates", Value::Null),
        ];
        let messages = foreign.iter().cloned().chain([understood()]);
        let item = |(i, message): (usize, Value)| {
            let payload = Payload::Inline(message.to_string().into());
            Item::new(format!("job-1/{i}"), payload.to_wire())
        };
        let items: Vec<Item> = messages.enumerate().map(item).collect();
        queue.enqueue(items.clone()).await.unwrap();

        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (queue, shutdown) = (queue.clone(), shutdown.clone());
            let bench = Bench::new(WorkerKind::Labeler, "old", Arc::new(Diligent), store);
            async move { bench.serve(&queue, shutdown).await }
        });
        let mut ended = Vec::new();
        let mut after = Position::START;
        while ended.len() < items.len() {
            let results = queue.results(after, 10, Duration::from_secs(1)).await.unwrap();
            after = results.last().map_or(after, |last| last.position);
            ended.extend(results);
        }
        shutdown.cancel();
        serving.await.unwrap().unwrap();

        for entry in ended {
            let is_foreign = entry.item.as_str() != "job-1/4";
            match entry.outcome {
                Outcome::Dead(death) => {
                    let says = death.error.contains("do all services have this version?");
                    assert!(is_foreign && says, "{}: {}", entry.item, death.error);
                }
                other => assert!(!is_foreign, "{}: {other:?}", entry.item),
            }
        }
        // Each waits, as it was, for a worker that understands it.
        let letters = queue.dead_letters(Position::START, 10).await.unwrap();
        let kept: Vec<Item> = letters.into_iter().map(|letter| letter.item).collect();
        assert_eq!(kept, items[..foreign.len()]);
    }
}
