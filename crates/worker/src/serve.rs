//! The loop between a queue and an executor.

use crate::work_metrics::{Outcome, WorkMetrics};
use crate::{Advance, Executor, Progress};
use rlaif_artifacts::{ArtifactStore, Payload};
use rlaif_job::{Answer, StageProgress, WorkItem, WorkResult};
use rlaif_queue::{Lease, Queue};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Progress messages on their way to the queue; more than that and the newest are dropped.
const PROGRESS_BUFFER: usize = 64;

/// Takes work from a queue until `shutdown`, one item at a time: a device does one thing at a time.
///
/// An item in hand at shutdown is given back at once, for another worker to begin anew.
///
/// # Errors
/// When the queue fails for good.
pub async fn serve(
    queue: &Queue,
    worker: &str,
    executor: Arc<dyn Executor>,
    store: ArtifactStore,
    shutdown: CancellationToken,
) -> Result<(), rlaif_queue::Error> {
    let mut consumer = queue.consumer(worker);
    let metrics = WorkMetrics::new();
    loop {
        let leased = tokio::select! {
            () = shutdown.cancelled() => break,
            leased = consumer.lease(1, Duration::from_secs(1)) => leased?,
        };
        for delivery in leased {
            let Some(lease) = delivery.start().await? else { continue };
            let bench =
                Bench { worker, executor: executor.clone(), store: &store, metrics: &metrics };
            bench.work_on(lease, &shutdown).await?;
        }
    }
    consumer.shutdown().await;
    Ok(())
}

/// Where one item is worked on.
struct Bench<'a> {
    worker: &'a str,
    executor: Arc<dyn Executor>,
    store: &'a ArtifactStore,
    metrics: &'a WorkMetrics,
}

impl Bench<'_> {
    async fn work_on(
        &self,
        lease: Lease,
        shutdown: &CancellationToken,
    ) -> Result<(), rlaif_queue::Error> {
        let item = match self.read(&lease).await {
            Ok(item) => item,
            Err(why) => return lease.fail(&why).await.map(drop),
        };
        let (sender, mut messages) = mpsc::channel(PROGRESS_BUFFER);
        let (executor, task, kind) = (self.executor.clone(), item.clone(), item.work.kind());
        let started = Instant::now();
        let mut work =
            tokio::task::spawn_blocking(move || executor.execute(&task, &ToQueue { sender }));
        let outcome = loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.metrics.item(kind, Outcome::Released, started.elapsed());
                    return lease.release().await.map(drop);
                }
                // Another worker has the item; whatever comes of this one would be refused.
                () = lease.lost().cancelled() => {
                    tracing::warn!(item = %lease.id(), "the lease was lost");
                    self.metrics.item(kind, Outcome::Lost, started.elapsed());
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
                let outcome = Outcome::of(&result);
                self.metrics.tokens(kind, &result);
                match self.pack(&item, result, started).await {
                    Ok(payload) => {
                        self.metrics.item(kind, outcome, started.elapsed());
                        return lease.commit(payload).await.map(drop);
                    }
                    Err(why) => why,
                }
            }
            Ok(Err(retry)) => retry.to_string(),
            Err(panic) => format!("the worker's thread panicked: {panic}"),
        };
        self.metrics.item(kind, Outcome::Failed, started.elapsed());
        tracing::warn!(item = %lease.id(), attempt = lease.attempt(), "work failed: {failure}");
        lease.fail(&failure).await.map(drop)
    }

    async fn read(&self, lease: &Lease) -> Result<WorkItem, String> {
        let job = lease.id().as_str().split('/').next().unwrap_or_default();
        let artifacts = self.store.job(job).map_err(|e| e.to_string())?;
        let payload = Payload::from_wire(lease.payload()).map_err(|e| e.to_string())?;
        let message = payload.message(&artifacts).await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&message)
            .map_err(|e| format!("the item is unreadable: {e}; do all services have this version?"))
    }

    async fn pack(
        &self,
        item: &WorkItem,
        result: WorkResult,
        started: Instant,
    ) -> Result<Vec<u8>, String> {
        let seconds = started.elapsed().as_secs_f64();
        let answer = Answer { result, seconds, worker: self.worker.to_owned() };
        let bytes = serde_json::to_vec(&answer).expect("answers are plain data");
        let artifacts = self.store.job(&item.job).map_err(|e| e.to_string())?;
        let payload = Payload::of(&artifacts, bytes).await.map_err(|e| e.to_string())?;
        Ok(payload.to_wire())
    }
}

/// Sends progress through the queue; advisory, so what does not fit is dropped.
struct ToQueue {
    sender: mpsc::Sender<Vec<u8>>,
}

impl Progress for ToQueue {
    fn advance(&self, advance: &Advance<'_>) {
        let progress = StageProgress {
            stage: advance.stage.to_owned(),
            done: advance.done,
            total: advance.total,
            note: advance.note.to_owned(),
        };
        let bytes = serde_json::to_vec(&progress).expect("progress is plain data");
        let _ = self.sender.try_send(bytes);
    }

    /// The result carries every record.
    fn measured(&self, _record: &Value) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Retry;
    use rlaif_job::{CheckLabeler, ModelRef, TaskId, Work};
    use rlaif_queue::{Item, Options, Outcome, Position};
    use serde_json::json;

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
            async move { serve(&queue, "old", Arc::new(Diligent), store, shutdown).await }
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
