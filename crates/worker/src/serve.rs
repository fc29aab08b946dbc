//! The loop between a queue and an executor.

use crate::rest::Rest;
use crate::work_metrics::{Outcome, WorkMetrics};
use crate::{Advance, Executor, Failure, Progress, Retry, spans};
use rlaif_artifacts::{ArtifactStore, Bytes, Payload};
use rlaif_job::{Answer, StageProgress, Tokens, WorkItem, WorkerKind};
use rlaif_queue::{Delivery, Lease, OneByOne, Queue};
use rlaif_service::metrics::names;
use rlaif_service::telemetry;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

/// Progress messages on their way to the queue; more than that and the newest are dropped.
const PROGRESS_BUFFER: usize = 64;
/// How long a shutdown waits for a result that is on its way into the artifact store.
const LAST_UPLOAD: Duration = Duration::from_secs(5);

/// Where one kind of worker works on the items of its queue.
pub struct Bench {
    kind: WorkerKind,
    worker: String,
    executor: Arc<dyn Executor>,
    store: ArtifactStore,
    rest: Rest,
    /// Whether what is away is waited for.
    waits: bool,
}

impl Bench {
    /// A bench for `executor` that waits for what its work needs and is away. `worker` is what results
    /// and attempts are recorded under.
    pub fn new(
        kind: WorkerKind,
        worker: impl Into<String>,
        executor: Arc<dyn Executor>,
        store: ArtifactStore,
    ) -> Self {
        let rest = Rest::new(store.clone());
        Self { kind, worker: worker.into(), executor, store, rest, waits: true }
    }

    /// Here what is away makes an item fail like all else: somebody looks on who can mend it, and would
    /// rather be told than wait.
    pub fn impatient(self) -> Self {
        Self { waits: false, ..self }
    }

    /// Whether the artifact store was away when an item was worked on last.
    pub(crate) fn is_store_away(&self) -> bool {
        self.rest.is_store_away()
    }

    /// Takes work from a queue until `shutdown`, one item at a time: a device does one thing at a
    /// time. The next is fetched meanwhile.
    ///
    /// An item in hand at shutdown is given back at once, for another worker to begin anew. One that
    /// cannot be worked on since something that it needs is away is put off, and this worker rests for a
    /// while.
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

    async fn read(&self, lease: &Lease) -> Result<WorkItem, Failure> {
        let artifacts = self.store.job(spans::job_of(lease.id().as_str()))?;
        let message = Payload::from_wire(lease.payload())?.message(&artifacts).await?;
        serde_json::from_slice(&message).map_err(|e| {
            let hint = "do all services have this version?";
            Failure::Retry(format!("the item is unreadable: {e}; {hint}"))
        })
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
        let read = tokio::select! {
            read = self.bench.read(&lease) => read,
            // A bucket that is away is tried for minutes.
            () = self.shutdown.cancelled() => Err(Failure::Stopped),
        };
        let item = match read {
            Ok(item) => item,
            Err(failure) => return self.put_off(lease, failure.into(), worked, |_| {}).await,
        };
        let (kind, started) = (item.work.kind(), Instant::now());
        span.record(names::WORK_KIND, kind);
        let _active = self.metrics.begun(kind);
        let note = |outcome: Outcome| {
            span.record(names::WORK_OUTCOME, outcome.name());
            self.metrics.item(kind, outcome, started.elapsed());
        };
        let (sender, mut messages) = mpsc::channel(PROGRESS_BUFFER);
        let stop = CancellationToken::new();
        let told = Arc::new(ToQueue { sender, used: Mutex::default(), stop: stop.clone() });
        // However this ends, the work does not go on for nobody.
        let _stopped_at_the_end = stop.clone().drop_guard();
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
                // Another worker has the item, or it was taken back; whatever comes of this one would
                // be refused.
                () = lease.lost().cancelled() => {
                    tracing::warn!(item = %lease.id(), "the lease was lost");
                    note(Outcome::Lost);
                    stop.cancel();
                    // The next item would share the device with what is left of this one.
                    tokio::select! {
                        _ = &mut work => {}
                        () = self.shutdown.cancelled() => {}
                    }
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
        let retry = match outcome {
            Ok(Ok(result)) => {
                let (outcome, tokens) = (Outcome::of(&result), told.used());
                self.metrics.tokens(kind, tokens);
                let (seconds, worker) =
                    (started.elapsed().as_secs_f64(), self.bench.worker.clone());
                let answer = Answer { result, seconds, worker, tokens };
                match self.pack(&lease, &item, &answer).await {
                    Ok(payload) => {
                        self.bench.rest.end();
                        note(outcome);
                        worked.cancel();
                        return lease.commit(payload).await.map(drop);
                    }
                    Err(retry) => retry,
                }
            }
            Ok(Err(retry)) => retry,
            Err(panic) => Retry::Failed(format!("the worker's thread panicked: {panic}")),
        };
        self.put_off(lease, retry, worked, note).await
    }

    /// Makes an answer ready to be sent. What was worked for is not thrown away while the artifact store
    /// is away: it is tried again until the lease is lost, or the shutdown.
    async fn pack(
        &self,
        lease: &Lease,
        item: &WorkItem,
        answer: &Answer,
    ) -> Result<Vec<u8>, Retry> {
        let bytes: Bytes = serde_json::to_vec(answer).expect("answers are plain data").into();
        let artifacts = self.bench.store.job(&item.job).map_err(Failure::from)?;
        loop {
            let packed = tokio::select! {
                packed = Payload::of(&artifacts, bytes.clone()) => packed,
                () = shut_down_for(self.shutdown, LAST_UPLOAD) => return Err(Retry::Stopped),
            };
            let error = match packed {
                Err(error) if error.is_passing() && self.bench.waits => error,
                packed => return Ok(packed.map_err(Failure::from)?.to_wire()),
            };
            tracing::warn!(item = %lease.id(), %error, "a result waits for the artifact store");
            tokio::select! {
                () = self.rest() => {}
                () = lease.lost().cancelled() => return Err(Retry::Away(error.to_string())),
                () = self.shutdown.cancelled() => return Err(Retry::Stopped),
            }
        }
    }

    /// Ends an item without a result. Where something that it needs is away and waited for, it is put
    /// off with its start, and this worker rests.
    async fn put_off(
        &self,
        lease: Lease,
        retry: Retry,
        worked: &CancellationToken,
        note: impl Fn(Outcome),
    ) -> Result<(), rlaif_queue::Error> {
        let waits = self.bench.waits;
        let (why, is_failure) = match retry {
            Retry::Failed(why) => (why, true),
            Retry::Away(why) => (why, !waits || self.bench.rest.blames(lease.id().as_str())),
            Retry::Stopped => {
                note(Outcome::Released);
                return lease.release().await.map(drop);
            }
        };
        // What is looked for in a store that is away may seem gone.
        let counts = match is_failure && waits {
            false => is_failure,
            true => tokio::select! {
                found = self.bench.rest.finds_the_store() => found,
                () = self.shutdown.cancelled() => false,
            },
        };
        Span::current().record("otel.status_code", "ERROR");
        if counts {
            note(Outcome::Failed);
            tracing::warn!(item = %lease.id(), attempt = lease.attempt(), "work failed: {why}");
            worked.cancel();
            return lease.fail(&why).await.map(drop);
        }
        note(Outcome::Released);
        tracing::warn!(item = %lease.id(), "given back, since what it needs is away: {why}");
        if self.shutdown.is_cancelled() {
            return lease.release().await.map(drop);
        }
        lease.put_off().await?;
        tokio::select! {
            () = self.rest() => {}
            () = self.shutdown.cancelled() => {}
        }
        Ok(())
    }

    async fn rest(&self) {
        self.bench.rest.take(self.queue.options().lease).await;
    }
}

/// Waits until the shutdown began so long ago.
pub(crate) async fn shut_down_for(shutdown: &CancellationToken, time: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(time).await;
}

/// Sends progress through the queue, advisory, so what does not fit is dropped; and sums up what
/// models were used for.
struct ToQueue {
    sender: mpsc::Sender<Vec<u8>>,
    used: Mutex<Tokens>,
    stop: CancellationToken,
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

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_artifacts::StoredPayload;
    use rlaif_job::{CheckLabeler, ModelRef, TaskId, Work, WorkResult};
    use rlaif_queue::{Item, Options, Outcome, Position};
    use rlaif_types::ContentHash;
    use serde_json::json;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

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

    /// A queue whose items may be started once, with one item in it, and a bench for `executor`. The
    /// item's message lies in the store in `folder`.
    async fn one_item(folder: &Path, executor: impl Executor + 'static) -> (Queue, Arc<Bench>) {
        let lease = Duration::from_secs(3);
        let options = Options { max_starts: 1, lease, ..Options::default() };
        let queue = Queue::in_memory(options).unwrap();
        let store = ArtifactStore::open(&folder.display().to_string(), folder).unwrap();
        let artifacts = store.job("job-1").unwrap();
        let message = understood().to_string();
        artifacts.put("payloads/item", message.clone()).await.unwrap();
        let payload = Payload::Stored(StoredPayload {
            name: "payloads/item".to_owned(),
            sha256: ContentHash::of(&message),
            bytes: message.len(),
        });
        queue.enqueue(vec![Item::new("job-1/0-check/labeler", payload.to_wire())]).await.unwrap();
        let bench = Bench::new(WorkerKind::Labeler, "worker", Arc::new(executor), store);
        (queue, Arc::new(bench))
    }

    /// Serves the queue until its item is settled; how it ended.
    async fn settled(queue: &Queue, bench: &Arc<Bench>) -> Outcome {
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (queue, bench, shutdown) = (queue.clone(), bench.clone(), shutdown.clone());
            async move { bench.serve(&queue, shutdown).await }
        });
        let entry = loop {
            let results = queue.results(Position::START, 1, Duration::from_secs(1)).await.unwrap();
            if let Some(entry) = results.into_iter().next() {
                break entry;
            }
        };
        shutdown.cancel();
        serving.await.unwrap().unwrap();
        entry.outcome
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_artifact_store_that_is_away_costs_an_item_no_start_and_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (there, elsewhere) = (dir.path().join("store"), dir.path().join("elsewhere"));
        let (queue, bench) = one_item(&there, Diligent).await;
        std::fs::rename(&there, &elsewhere).unwrap();
        let coming_back = tokio::spawn({
            let bench = bench.clone();
            async move {
                while !bench.is_store_away() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                std::fs::rename(elsewhere, there).unwrap();
            }
        });
        let outcome = settled(&queue, &bench).await;
        assert!(matches!(outcome, Outcome::Done { attempts: 1, .. }), "{outcome:?}");
        assert!(!bench.is_store_away());
        coming_back.await.unwrap();
    }

    /// What it asks is away the first two times.
    #[derive(Default)]
    struct Patient(AtomicU32);

    impl Executor for Patient {
        fn execute(&self, _: &WorkItem, _: &dyn Progress) -> Result<WorkResult, Retry> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(Retry::Away("the endpoint does not answer".to_owned())),
                _ => Ok(WorkResult::Rewards(Vec::new())),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_endpoint_that_is_down_costs_an_item_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, bench) = one_item(dir.path(), Patient::default()).await;
        let outcome = settled(&queue, &bench).await;
        assert!(matches!(outcome, Outcome::Done { attempts: 1, .. }), "{outcome:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_nobody_waits_what_is_away_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, bench) = one_item(dir.path(), Patient::default()).await;
        let bench = Arc::into_inner(bench).unwrap().impatient();
        let outcome = settled(&queue, &Arc::new(bench)).await;
        assert!(matches!(outcome, Outcome::Dead(_)), "{outcome:?}");
    }

    /// What it asks answers all items but one, whose model it does not know.
    struct Unanswered(ModelRef);

    impl Executor for Unanswered {
        fn execute(&self, item: &WorkItem, _: &dyn Progress) -> Result<WorkResult, Retry> {
            match &item.work {
                Work::CheckLabeler(check) if check.model == self.0 => {
                    Err(Retry::Away("no answer within timeout".to_owned()))
                }
                _ => Ok(WorkResult::Rewards(Vec::new())),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_item_that_an_endpoint_answers_never_holds_no_other_up_and_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let unanswered = Unanswered(ModelRef::Named("bad".to_owned()));
        let (queue, bench) = one_item(dir.path(), unanswered).await;
        let item = |id: &str, message: Value| {
            Item::new(id, Payload::Inline(message.to_string().into()).to_wire())
        };
        let bad = with("/work/model", json!({"named": "bad"}));
        let items = vec![item("job-1/bad", bad), item("job-1/good", understood())];
        queue.cancel(&["job-1/0-check/labeler".into()]).await.unwrap();
        queue.enqueue(items).await.unwrap();

        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (queue, shutdown) = (queue.clone(), shutdown.clone());
            async move { bench.serve(&queue, shutdown).await }
        });
        let mut ended = Vec::new();
        let mut after = Position::START;
        while ended.len() < 2 {
            let results = queue.results(after, 10, Duration::from_secs(1)).await.unwrap();
            after = results.last().map_or(after, |last| last.position);
            ended.extend(results);
        }
        shutdown.cancel();
        serving.await.unwrap().unwrap();
        let [good, bad] = &ended[..] else { panic!("{ended:?}") };
        assert_eq!((good.item.as_str(), bad.item.as_str()), ("job-1/good", "job-1/bad"));
        assert!(matches!(&good.outcome, Outcome::Done { .. }), "{good:?}");
        assert!(
            matches!(&bad.outcome, Outcome::Dead(death) if death.error.contains("no answer")),
            "{bad:?}"
        );
    }

    /// Asks what has to be paid for, and finds that it was in vain.
    struct PaidInVain;

    impl Executor for PaidInVain {
        fn execute(&self, _: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
            progress.used(Tokens::new(7, 1));
            Ok(WorkResult::Impossible("none of the questions could be answered".to_owned()))
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_says_what_it_took_also_where_the_work_was_impossible() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, bench) = one_item(dir.path(), PaidInVain).await;
        let outcome = settled(&queue, &bench).await;
        let Outcome::Done { payload, .. } = outcome else { panic!("{outcome:?}") };
        let Payload::Inline(answer) = Payload::from_wire(&payload).unwrap() else {
            panic!("so short an answer was stored");
        };
        let answer: Answer = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer.tokens, Tokens::new(7, 1));
    }

    /// Works until it is told to stop.
    struct Endless(Arc<AtomicU32>);

    impl Executor for Endless {
        fn execute(&self, _: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
            self.0.fetch_add(1, Ordering::SeqCst);
            while progress.goes_on().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.fetch_sub(1, Ordering::SeqCst);
            Err(Retry::Stopped)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_on_an_item_that_was_taken_back_stops() {
        let dir = tempfile::tempdir().unwrap();
        let at_work = Arc::new(AtomicU32::new(0));
        let (queue, bench) = one_item(dir.path(), Endless(at_work.clone())).await;
        let until = async |count: u32| {
            while at_work.load(Ordering::SeqCst) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn({
            let (queue, shutdown) = (queue.clone(), shutdown.clone());
            async move { bench.serve(&queue, shutdown).await }
        });
        until(1).await;
        queue.cancel(&["job-1/0-check/labeler".into()]).await.unwrap();
        // The next heartbeat is told.
        until(0).await;
        shutdown.cancel();
        serving.await.unwrap().unwrap();
    }
}
