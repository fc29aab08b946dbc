//! Dynamic batching in front of an engine that owns a thread.
//!
//! Callers submit requests with their cost in tokens. The thread takes whatever waits, up to a token
//! budget and a number of items, runs it, and looks again: no timer holds a request back, and while
//! the engine is busy the next batch grows. The queue is bounded, in requests and tokens and by what
//! can be done before a caller's deadline; who does not fit is told at once when to come back, so that
//! under overload the engine works for those who still wait for its answers.

mod engine_thread;
mod error;
mod observer;
mod options;
mod pace;
mod queue;
mod shared;
#[cfg(test)]
mod tests;

pub use engine_thread::{EngineThread, Waiting};
pub use error::Error;
pub use observer::{BatchReport, Observer, Skipped};
pub use options::Options;

use shared::{Close, Shared};
use std::sync::Arc;
use std::time::Instant;

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

/// Starts `engine` on a thread of its own, named `name`.
///
/// `engine` gets the requests of a batch in the order in which they came and returns as many
/// responses in the same order. Where [nobody waits](Waiting) for them any more, it may give the batch up
/// and return any. If it panics, that batch fails and it is called again with the next one: it must leave
/// itself usable.
///
/// # Errors
/// When the system has no thread left.
pub fn start<Req, Resp>(
    name: &str,
    options: Options,
    observer: impl Observer,
    engine: impl FnMut(Vec<Req>, &Waiting<'_>) -> Vec<Resp> + Send + 'static,
) -> std::io::Result<(Batcher<Req, Resp>, EngineThread)>
where
    Req: Send + 'static,
    Resp: Send + 'static,
{
    let shared = Arc::new(Shared::new(options, observer));
    let thread = EngineThread::start(name, shared.clone(), engine)?;
    Ok((Batcher { door: Arc::new(Door { shared }) }, thread))
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
        let mut place = self.door.shared.enqueue(request, tokens, deadline)?;
        match deadline {
            None => place.answer().await,
            Some(at) => tokio::time::timeout_at(at.into(), place.answer())
                .await
                .unwrap_or(Err(Error::DeadlineExceeded)),
        }
    }

    /// Requests that wait now.
    pub fn queued_items(&self) -> usize {
        self.door.shared.lock().queue.items()
    }

    /// Tokens that wait now.
    pub fn queued_tokens(&self) -> usize {
        self.door.shared.lock().queue.tokens()
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
