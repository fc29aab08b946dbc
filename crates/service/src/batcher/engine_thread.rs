//! The thread that owns the engine: takes batches, runs them, answers the callers. What nobody waits for is
//! not waited for either: neither the engine's next step by its callers, nor its batch by who drains it.

use super::queue::{Batch, Caller};
use super::shared::{Close, Shared};
use super::{BatchReport, Error};
use crate::telemetry;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Whether a batch is still of use. An engine that works in steps asks between them.
pub struct Waiting<'a> {
    is_anybody: &'a dyn Fn() -> bool,
}

impl Waiting<'_> {
    /// Whether a caller of the batch still waits for its response.
    pub fn is_anybody(&self) -> bool {
        (self.is_anybody)()
    }
}

/// The owner's side of the engine's thread.
pub struct EngineThread {
    thread: JoinHandle<()>,
    close: Box<dyn Fn(Close) + Send + Sync>,
    ended: oneshot::Receiver<()>,
}

impl EngineThread {
    pub(super) fn start<Req: Send + 'static, Resp: Send + 'static>(
        name: &str,
        shared: Arc<Shared<Req, Resp>>,
        engine: impl FnMut(Vec<Req>, &Waiting<'_>) -> Vec<Resp> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (alive, ended) = oneshot::channel();
        let served = shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Dropped when the thread ends, however it ends.
            let _alive: oneshot::Sender<()> = alive;
            serve(&served, engine);
        })?;
        let close = Box::new(move |how| shared.close(how));
        Ok(Self { thread, close, ended })
    }

    /// Refuses new requests and lets the engine finish what waits, for at most `grace`. Then what waits is
    /// dropped, and the batch in hand is left to its thread, which ends after it or with the process: a
    /// computation cannot be stopped, and may take longer than a process has to end.
    pub async fn drain(mut self, grace: Duration) {
        (self.close)(Close::AfterQueue);
        // The sender is dropped, never used: that it is says that the thread has ended.
        if tokio::time::timeout(grace, &mut self.ended).await.is_err() {
            (self.close)(Close::AfterBatch);
            let engine = self.thread.thread().name().unwrap_or_default();
            tracing::warn!(engine, "the batch in hand is not waited for");
            return;
        }
        if self.thread.join().is_err() {
            tracing::error!("the engine's thread panicked outside of a batch");
        }
    }
}

/// The engine's thread.
fn serve<Req, Resp>(
    shared: &Shared<Req, Resp>,
    mut engine: impl FnMut(Vec<Req>, &Waiting<'_>) -> Vec<Resp>,
) {
    while let Some(Batch { requests, callers, waits, tokens, .. }) = shared.next_batch() {
        let items = requests.len();
        let span = tracing::info_span!("engine batch", items, tokens);
        for caller in &callers {
            telemetry::link(&span, &caller.span);
        }
        let started = Instant::now();
        let is_anybody = || callers.iter().any(|caller| !caller.reply.is_closed());
        let waiting = Waiting { is_anybody: &is_anybody };
        let outcome = span.in_scope(|| run(&mut engine, requests, &waiting));
        let took = started.elapsed();
        shared.finished(took);
        let failed = outcome.is_err();
        shared.observer.batch(&BatchReport { tokens, waits: &waits, took, failed });
        answer(callers, outcome);
    }
}

/// One call of the engine, with its panics and miscounts as errors.
fn run<Req, Resp>(
    engine: &mut impl FnMut(Vec<Req>, &Waiting<'_>) -> Vec<Resp>,
    requests: Vec<Req>,
    waiting: &Waiting<'_>,
) -> Result<Vec<Resp>, Error> {
    let items = requests.len();
    // The engine promises to be usable after a panic; see `start`.
    match catch_unwind(AssertUnwindSafe(|| engine(requests, waiting))) {
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
