//! Dynamic batching in front of an engine that owns a thread.
//!
//! Callers submit requests with their cost in tokens. The thread takes whatever waits, up to a token
//! budget and a number of items, runs it, and looks again: no timer holds a request back, and while
//! the engine is busy the next batch grows. The queue is bounded; when it is full a caller is told
//! when to come back.

use crate::config::{Problems, Validate};
use crate::telemetry;
use opentelemetry::trace::SpanContext;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bounds of batches and of what waits for one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Tokens that one batch may hold; a single request that costs more is refused.
    pub max_batch_tokens: usize,
    /// Requests that one batch may hold.
    pub max_batch_items: usize,
    /// Requests that may wait.
    pub max_queued_items: usize,
    /// Tokens that may wait: bounds memory where requests differ in size.
    pub max_queued_tokens: usize,
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        problems.check(self.max_batch_tokens > 0, "max_batch_tokens", "must be at least 1");
        problems.check(self.max_batch_items > 0, "max_batch_items", "must be at least 1");
        problems.check(self.max_queued_items > 0, "max_queued_items", "must be at least 1");
        problems.check(
            self.max_queued_tokens >= self.max_batch_tokens,
            "max_queued_tokens",
            "must be at least max_batch_tokens, or the largest request could never wait",
        );
    }
}

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue is full.
    #[error("overloaded: the queue is full; try again in {} ms", .retry_after.as_millis())]
    Overloaded {
        /// When what waits now is likely to be done.
        retry_after: Duration,
    },
    /// The request alone is larger than a batch may be.
    #[error("the request costs {tokens} tokens, a batch holds {limit}; shorten it")]
    TooLarge {
        /// Its cost.
        tokens: usize,
        /// What a batch holds.
        limit: usize,
    },
    /// The deadline passed before the response was there.
    #[error("the deadline passed before the engine answered")]
    DeadlineExceeded,
    /// The engine failed on the batch that the request was in. Other batches are not affected.
    #[error("the engine failed on this batch: {message}")]
    Engine {
        /// What it said.
        message: String,
    },
    /// The engine is shutting down.
    #[error("the engine is shutting down; ask another instance")]
    Stopped,
}

/// Why a waiting request never reached the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Nobody waits for the response any more.
    CallerLeft,
    /// Its deadline passed.
    DeadlinePassed,
}

/// What one batch was like.
#[derive(Debug)]
pub struct BatchReport<'a> {
    /// Their tokens.
    pub tokens: usize,
    /// How long each request waited, in the order of the batch.
    pub waits: &'a [Duration],
    /// How long the engine took.
    pub took: Duration,
    /// Whether the engine failed.
    pub failed: bool,
}

/// Told what happens in a batcher; called on the engine's and on callers' threads, so it must be
/// quick. [`BatcherMetrics`](crate::metrics::BatcherMetrics) records it as metrics.
pub trait Observer: Send + Sync + 'static {
    /// A batch was run.
    fn batch(&self, _report: &BatchReport<'_>) {}
    /// A waiting request was dropped.
    fn skipped(&self, _why: Skipped) {}
    /// A request was refused because the queue is full.
    fn shed(&self) {}
}

/// Observes nothing.
impl Observer for () {}

/// The callers' side: clones share one queue. The engine's thread ends when the last clone is
/// dropped or the [`EngineThread`] is told to.
pub struct Batcher<Req, Resp> {
    door: Arc<Door<Req, Resp>>,
}

impl<Req, Resp> Clone for Batcher<Req, Resp> {
    fn clone(&self) -> Self {
        Self { door: self.door.clone() }
    }
}

/// The owner's side of the engine's thread.
pub struct EngineThread {
    thread: JoinHandle<()>,
    close: Box<dyn Fn(Close) + Send + Sync>,
    ended: oneshot::Receiver<()>,
}

/// Starts `engine` on a thread of its own, named `name`.
///
/// `engine` gets the requests of a batch in the order in which they came and returns as many
/// responses in the same order. If it panics, that batch fails and it is called again with the next
/// one: it must leave itself usable.
///
/// # Errors
/// When the system has no thread left.
pub fn start<Req, Resp>(
    name: &str,
    options: Options,
    observer: impl Observer,
    engine: impl FnMut(Vec<Req>) -> Vec<Resp> + Send + 'static,
) -> std::io::Result<(Batcher<Req, Resp>, EngineThread)>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    let shared = Arc::new(Shared {
        options,
        observer: Box::new(observer),
        queue: Mutex::new(Queue::default()),
        changed: Condvar::new(),
    });
    let (alive, ended) = oneshot::channel();
    let served = shared.clone();
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Dropped when the thread ends, however it ends.
        let _alive: oneshot::Sender<()> = alive;
        serve(&served, engine);
    })?;
    let closed = shared.clone();
    let close = Box::new(move |how| closed.close(how));
    Ok((Batcher { door: Arc::new(Door { shared }) }, EngineThread { thread, close, ended }))
}

impl<Req: Send, Resp: Send> Batcher<Req, Resp> {
    /// Waits for the response to `request`, which costs `tokens`.
    ///
    /// Cancel-safe: a caller that stops waiting frees its place, and its request is not run unless
    /// the batch with it has begun.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn submit(
        &self,
        request: Req,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Result<Resp, Error> {
        let answer = self.door.shared.enqueue(request, tokens, deadline)?;
        let answer = match deadline {
            None => answer.await,
            Some(at) => tokio::time::timeout_at(at.into(), answer)
                .await
                .map_err(|_| Error::DeadlineExceeded)?,
        };
        answer.unwrap_or(Err(Error::Stopped))
    }

    /// Requests that wait now.
    pub fn queued_items(&self) -> usize {
        self.door.shared.lock().entries.len()
    }

    /// Tokens that wait now.
    pub fn queued_tokens(&self) -> usize {
        self.door.shared.lock().tokens
    }
}

impl EngineThread {
    /// Refuses new requests, lets the engine finish what waits for at most `grace`, then only the
    /// batch in hand, and waits for the thread.
    pub async fn drain(mut self, grace: Duration) {
        (self.close)(Close::AfterQueue);
        if tokio::time::timeout(grace, &mut self.ended).await.is_err() {
            (self.close)(Close::AfterBatch);
            // The sender is dropped, never used: the result says nothing.
            let _ = self.ended.await;
        }
        if self.thread.join().is_err() {
            tracing::error!("the engine's thread panicked outside of a batch");
        }
    }
}

/// Closes the queue when the last caller is gone.
struct Door<Req, Resp> {
    shared: Arc<Shared<Req, Resp>>,
}

impl<Req, Resp> Drop for Door<Req, Resp> {
    fn drop(&mut self) {
        self.shared.close(Close::AfterQueue);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Close {
    AfterQueue,
    AfterBatch,
}

struct Shared<Req, Resp> {
    options: Options,
    observer: Box<dyn Observer>,
    queue: Mutex<Queue<Req, Resp>>,
    changed: Condvar,
}

struct Queue<Req, Resp> {
    entries: VecDeque<Entry<Req, Resp>>,
    /// Of the entries.
    tokens: usize,
    tokens_in_hand: usize,
    /// Moving average, for the retry hint; zero until the first batch is done.
    seconds_per_token: f64,
    closed: bool,
}

impl<Req, Resp> Default for Queue<Req, Resp> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            tokens: 0,
            tokens_in_hand: 0,
            seconds_per_token: 0.0,
            closed: false,
        }
    }
}

struct Entry<Req, Resp> {
    request: Req,
    tokens: usize,
    deadline: Option<Instant>,
    queued_at: Instant,
    caller: Caller<Resp>,
}

struct Caller<Resp> {
    reply: oneshot::Sender<Result<Resp, Error>>,
    span: SpanContext,
}

struct Batch<Req, Resp> {
    requests: Vec<Req>,
    callers: Vec<Caller<Resp>>,
    waits: Vec<Duration>,
    tokens: usize,
}

impl<Req, Resp> Entry<Req, Resp> {
    /// Why this entry need not be run, if so.
    fn is_moot(&self, now: Instant) -> Option<Skipped> {
        if self.caller.reply.is_closed() {
            Some(Skipped::CallerLeft)
        } else if self.deadline.is_some_and(|at| at <= now) {
            Some(Skipped::DeadlinePassed)
        } else {
            None
        }
    }

    fn skip(self, why: Skipped, observer: &dyn Observer) {
        observer.skipped(why);
        // The caller may have left meanwhile, which is fine.
        let _ = self.caller.reply.send(Err(Error::DeadlineExceeded));
    }
}

impl<Req, Resp> Shared<Req, Resp> {
    /// No code that holds the lock panics, so a poisoned queue is still a whole one.
    fn lock(&self) -> MutexGuard<'_, Queue<Req, Resp>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(
        &self,
        request: Req,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Result<Resp, Error>>, Error> {
        let limit = self.options.max_batch_tokens;
        if tokens > limit {
            return Err(Error::TooLarge { tokens, limit });
        }
        let mut queue = self.lock();
        if queue.closed {
            return Err(Error::Stopped);
        }
        if !self.has_room(&queue, tokens) {
            self.drop_moot(&mut queue);
        }
        if !self.has_room(&queue, tokens) {
            let retry_after = queue.retry_after();
            drop(queue);
            self.observer.shed();
            return Err(Error::Overloaded { retry_after });
        }
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply, span: telemetry::current_span_context() };
        queue.tokens += tokens;
        queue.entries.push_back(Entry {
            request,
            tokens,
            deadline,
            queued_at: Instant::now(),
            caller,
        });
        drop(queue);
        self.changed.notify_one();
        Ok(answer)
    }

    fn has_room(&self, queue: &Queue<Req, Resp>, tokens: usize) -> bool {
        queue.entries.len() < self.options.max_queued_items
            && queue.tokens.saturating_add(tokens) <= self.options.max_queued_tokens
    }

    /// Frees the places of callers that left: nobody is refused for their sake.
    fn drop_moot(&self, queue: &mut Queue<Req, Resp>) {
        let now = Instant::now();
        for entry in std::mem::take(&mut queue.entries) {
            match entry.is_moot(now) {
                None => queue.entries.push_back(entry),
                Some(why) => {
                    queue.tokens -= entry.tokens;
                    entry.skip(why, &*self.observer);
                }
            }
        }
    }

    /// Waits for the next batch; none when the queue is closed and empty.
    fn next_batch(&self) -> Option<Batch<Req, Resp>> {
        let mut queue = self.lock();
        loop {
            let batch = self.take(&mut queue);
            if !batch.requests.is_empty() {
                queue.tokens_in_hand = batch.tokens;
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes from the front until the next request does not fit: nobody is overtaken, so nobody
    /// starves.
    fn take(&self, queue: &mut Queue<Req, Resp>) -> Batch<Req, Resp> {
        let now = Instant::now();
        let mut batch =
            Batch { requests: Vec::new(), callers: Vec::new(), waits: Vec::new(), tokens: 0 };
        while batch.requests.len() < self.options.max_batch_items
            && let Some(next) = queue.entries.front()
        {
            let moot = next.is_moot(now);
            if moot.is_none() && batch.tokens + next.tokens > self.options.max_batch_tokens {
                break;
            }
            let Some(entry) = queue.entries.pop_front() else { break };
            queue.tokens -= entry.tokens;
            match moot {
                Some(why) => entry.skip(why, &*self.observer),
                None => batch.push(entry, now),
            }
        }
        batch
    }

    fn finished(&self, tokens: usize, took: Duration) {
        let mut queue = self.lock();
        queue.tokens_in_hand = 0;
        let latest = took.as_secs_f64() / tokens.max(1) as f64;
        queue.seconds_per_token = match queue.seconds_per_token {
            0.0 => latest,
            // About the last ten batches count.
            average => 0.9 * average + 0.1 * latest,
        };
    }

    fn close(&self, how: Close) {
        let mut queue = self.lock();
        queue.closed = true;
        if how == Close::AfterBatch {
            queue.tokens = 0;
            // Dropping an entry tells its caller that the engine has stopped.
            queue.entries.clear();
        }
        drop(queue);
        self.changed.notify_all();
    }
}

impl<Req, Resp> Queue<Req, Resp> {
    /// When what waits now is likely to be done; at least long enough that a crowd which was turned
    /// away does not come back at once.
    fn retry_after(&self) -> Duration {
        let tokens = (self.tokens + self.tokens_in_hand) as f64;
        Duration::from_secs_f64((tokens * self.seconds_per_token).clamp(0.1, 30.0))
    }
}

impl<Req, Resp> Batch<Req, Resp> {
    fn push(&mut self, entry: Entry<Req, Resp>, now: Instant) {
        self.requests.push(entry.request);
        self.callers.push(entry.caller);
        self.waits.push(now.saturating_duration_since(entry.queued_at));
        self.tokens += entry.tokens;
    }
}

/// The engine's thread.
fn serve<Req, Resp>(shared: &Shared<Req, Resp>, mut engine: impl FnMut(Vec<Req>) -> Vec<Resp>) {
    while let Some(Batch { requests, callers, waits, tokens }) = shared.next_batch() {
        let items = requests.len();
        let span = tracing::info_span!("engine batch", items, tokens);
        for caller in &callers {
            telemetry::link(&span, &caller.span);
        }
        let started = Instant::now();
        let outcome = span.in_scope(|| run(&mut engine, requests));
        let took = started.elapsed();
        shared.finished(tokens, took);
        let failed = outcome.is_err();
        shared.observer.batch(&BatchReport { tokens, waits: &waits, took, failed });
        answer(callers, outcome);
    }
}

/// One call of the engine, with its panics and miscounts as errors.
fn run<Req, Resp>(
    engine: &mut impl FnMut(Vec<Req>) -> Vec<Resp>,
    requests: Vec<Req>,
) -> Result<Vec<Resp>, Error> {
    let items = requests.len();
    // The engine promises to be usable after a panic; see `start`.
    match catch_unwind(AssertUnwindSafe(|| engine(requests))) {
        Ok(responses) if responses.len() == items => Ok(responses),
        Ok(responses) => {
            let message = format!("{} responses to {items} requests", responses.len());
            Err(Error::Engine { message })
        }
        Err(panic) => Err(Error::Engine { message: panic_message(&*panic) }),
    }
}

fn answer<Resp>(callers: Vec<Caller<Resp>>, outcome: Result<Vec<Resp>, Error>) {
    // A failed send means that the caller left during the batch.
    match outcome {
        Ok(responses) => {
            for (caller, response) in callers.into_iter().zip(responses) {
                let _ = caller.reply.send(Ok(response));
            }
        }
        Err(error) => {
            tracing::error!("{error}");
            for caller in callers {
                let _ = caller.reply.send(Err(error.clone()));
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn options() -> Options {
        Options {
            max_batch_tokens: 10,
            max_batch_items: 4,
            max_queued_items: 3,
            max_queued_tokens: 20,
        }
    }

    /// An engine that answers a batch when the test says so, and shows the batches it got.
    struct Gated {
        batcher: Batcher<u32, u32>,
        thread: EngineThread,
        open: mpsc::Sender<()>,
        seen: mpsc::Receiver<Vec<u32>>,
    }

    fn gated(options: Options) -> Gated {
        let (open, gate) = mpsc::channel::<()>();
        let (show, seen) = mpsc::channel();
        let (batcher, thread) = start("engine", options, (), move |batch: Vec<u32>| {
            show.send(batch.clone()).unwrap();
            // A closed gate stays open.
            let _ = gate.recv();
            assert!(!batch.contains(&13), "unlucky");
            batch.iter().map(|n| n * 2).collect()
        })
        .unwrap();
        Gated { batcher, thread, open, seen }
    }

    type Answer = tokio::task::JoinHandle<Result<u32, Error>>;

    impl Gated {
        fn submit(&self, n: u32, tokens: usize, deadline: Option<Instant>) -> Answer {
            let batcher = self.batcher.clone();
            tokio::spawn(async move { batcher.submit(n, tokens, deadline).await })
        }

        /// Submits `n` and waits until it is queued.
        async fn queue(&self, n: u32, tokens: usize) -> Answer {
            let before = self.batcher.queued_items();
            let answer = self.submit(n, tokens, None);
            until(|| self.batcher.queued_items() > before).await;
            answer
        }

        /// Occupies the engine with request 0.
        async fn occupy(&self) -> Answer {
            let answer = self.submit(0, 1, None);
            until(|| self.seen.try_recv().is_ok()).await;
            answer
        }
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_waits_while_the_engine_is_busy_is_one_batch_in_order() {
        let engine = gated(options());
        let first = engine.occupy().await;
        let mut waiting = Vec::new();
        for n in [1, 2, 3] {
            waiting.push(engine.queue(n, 2).await);
        }
        drop(engine.open);
        assert_eq!(first.await.unwrap(), Ok(0));
        for (answer, expected) in waiting.into_iter().zip([2, 4, 6]) {
            assert_eq!(answer.await.unwrap(), Ok(expected));
        }
        assert_eq!(engine.seen.recv().unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_batch_ends_at_its_token_budget_and_nobody_is_overtaken() {
        let engine = gated(options());
        let _first = engine.occupy().await;
        let waiting =
            [engine.queue(1, 6).await, engine.queue(2, 6).await, engine.queue(3, 1).await];
        drop(engine.open);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        // 3 would have fitted beside 1, but 2 came first.
        let batches: Vec<_> = engine.seen.try_iter().collect();
        assert_eq!(batches, [vec![1], vec![2, 3]]);
    }

    #[tokio::test]
    async fn sheds_when_full_and_says_when_to_come_back() {
        let engine = gated(options());
        let _first = engine.occupy().await;
        let waiting =
            [engine.queue(1, 1).await, engine.queue(2, 1).await, engine.queue(3, 1).await];
        let refused = engine.submit(4, 1, None).await.unwrap();
        let Err(Error::Overloaded { retry_after }) = refused else { panic!("{refused:?}") };
        assert!(retry_after >= Duration::from_millis(100));
        drop(engine.open);
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_tokens_too() {
        let engine = gated(options());
        let _first = engine.occupy().await;
        let _waiting = [engine.queue(1, 10).await, engine.queue(2, 10).await];
        let refused = engine.submit(3, 1, None).await.unwrap();
        assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
        drop(engine.open);
    }

    #[tokio::test]
    async fn skips_callers_that_left_and_frees_their_places() {
        let engine = gated(options());
        let _first = engine.occupy().await;
        let leaves = engine.queue(1, 1).await;
        let stays = [engine.queue(2, 1).await, engine.queue(3, 1).await];
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        // The queue holds three; the one who left makes room.
        let comes = engine.submit(4, 1, None);
        until(|| engine.batcher.door.shared.lock().entries.back().is_some_and(|e| e.request == 4))
            .await;
        drop(engine.open);
        for answer in stays.into_iter().chain([comes]) {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(engine.seen.recv().unwrap(), [2, 3, 4]);
    }

    #[tokio::test]
    async fn a_request_whose_deadline_passed_is_not_run() {
        let engine = gated(options());
        let first = engine.occupy().await;
        let late = engine.submit(1, 1, Some(Instant::now() + Duration::from_millis(5)));
        assert_eq!(late.await.unwrap(), Err(Error::DeadlineExceeded));
        let passed = engine.submit(2, 1, Some(Instant::now()));
        assert_eq!(passed.await.unwrap(), Err(Error::DeadlineExceeded));
        let last = engine.queue(3, 1).await;
        drop(engine.open);
        first.await.unwrap().unwrap();
        last.await.unwrap().unwrap();
        assert_eq!(engine.seen.recv().unwrap(), [3]);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_batch_only() {
        let engine = gated(options());
        drop(engine.open);
        let Err(Error::Engine { message }) = engine.batcher.submit(13, 1, None).await else {
            panic!("the engine did not fail")
        };
        assert!(message.contains("unlucky"), "{message}");
        assert_eq!(engine.batcher.submit(1, 1, None).await, Ok(2));
    }

    #[tokio::test]
    async fn a_miscounting_engine_fails_its_batch_instead_of_mixing_up_callers() {
        let (batcher, _thread) = start("engine", options(), (), |_: Vec<u32>| vec![1, 2]).unwrap();
        let answer = batcher.submit(1, 1, None).await;
        assert!(matches!(answer, Err(Error::Engine { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn a_request_larger_than_a_batch_is_refused() {
        let engine = gated(options());
        let refused = engine.batcher.submit(1, 11, None).await;
        assert_eq!(refused, Err(Error::TooLarge { tokens: 11, limit: 10 }));
    }

    #[tokio::test]
    async fn draining_finishes_what_waits_and_refuses_what_comes() {
        let engine = gated(options());
        let first = engine.occupy().await;
        let waiting = engine.queue(1, 1).await;
        let batcher = engine.batcher.clone();
        let drained = tokio::spawn(engine.thread.drain(Duration::from_secs(60)));
        until(|| batcher.door.shared.lock().closed).await;
        assert_eq!(batcher.submit(2, 1, None).await, Err(Error::Stopped));
        drop(engine.open);
        drained.await.unwrap();
        assert_eq!(first.await.unwrap(), Ok(0));
        assert_eq!(waiting.await.unwrap(), Ok(2));
    }

    #[tokio::test]
    async fn after_the_grace_period_only_the_batch_in_hand_is_finished() {
        let engine = gated(options());
        let first = engine.occupy().await;
        let waiting = engine.queue(1, 1).await;
        let drained = tokio::spawn(engine.thread.drain(Duration::ZERO));
        assert_eq!(waiting.await.unwrap(), Err(Error::Stopped));
        engine.open.send(()).unwrap();
        drained.await.unwrap();
        assert_eq!(first.await.unwrap(), Ok(0));
    }
}
