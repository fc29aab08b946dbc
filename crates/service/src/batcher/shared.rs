//! What callers and the engine's thread share: the queue behind its lock.

use super::queue::{Batch, Caller, Entry, Queue};
use super::{Error, Observer, Options};
use crate::telemetry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What of the queue is still run after it is closed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    AfterQueue,
    AfterBatch,
}

pub(super) struct Shared<Req, Resp> {
    pub(super) observer: Box<dyn Observer>,
    state: Mutex<State<Req, Resp>>,
    changed: Condvar,
    /// Some of those that wait, since they were last looked for.
    callers_left: AtomicBool,
}

pub(super) struct State<Req, Resp> {
    pub(super) queue: Queue<Req, Resp>,
    pub(super) closed: bool,
}

/// A caller's place in the queue, given up when it is dropped.
pub(super) struct Place<'a, Req, Resp> {
    shared: &'a Shared<Req, Resp>,
    answer: oneshot::Receiver<Result<Resp, Error>>,
    answered: bool,
}

impl<Req, Resp> Place<'_, Req, Resp> {
    pub(super) async fn answer(&mut self) -> Result<Resp, Error> {
        let answer = (&mut self.answer).await;
        self.answered = true;
        // Without a word the entry was dropped: by the end of the engine.
        answer.unwrap_or(Err(Error::Stopped))
    }
}

impl<Req, Resp> Drop for Place<'_, Req, Resp> {
    fn drop(&mut self) {
        if !self.answered {
            // In this order: whoever looks for callers that left must find this one.
            self.answer.close();
            self.shared.callers_left.store(true, Ordering::Relaxed);
        }
    }
}

impl<Req, Resp> Shared<Req, Resp> {
    pub(super) fn new(options: Options, observer: impl Observer) -> Self {
        Self {
            observer: Box::new(observer),
            state: Mutex::new(State { queue: Queue::new(options), closed: false }),
            changed: Condvar::new(),
            callers_left: AtomicBool::new(false),
        }
    }

    /// No code that holds the lock panics, so a poisoned queue is still a whole one.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<Req, Resp>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enqueue(
        &self,
        request: Req,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Result<Place<'_, Req, Resp>, Error> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Stopped);
        }
        let now = Instant::now();
        let mut admitted = state.queue.admit(tokens, deadline, now);
        // Looking for them takes a while, so only where there are any.
        if admitted.is_err() && self.callers_left.swap(false, Ordering::Relaxed) {
            state.queue.drop_callers_that_left(&*self.observer);
            admitted = state.queue.admit(tokens, deadline, now);
        }
        if let Err(refused) = admitted {
            drop(state);
            if let Error::Overloaded { .. } = refused {
                self.observer.shed();
            }
            return Err(refused);
        }
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply, span: telemetry::current_span_context() };
        state.queue.push(Entry { request, tokens, deadline, queued_at: now, caller });
        drop(state);
        self.changed.notify_one();
        Ok(Place { shared: self, answer, answered: false })
    }

    /// Waits for the next batch; none when the queue is closed and empty.
    pub(super) fn next_batch(&self) -> Option<Batch<Req, Resp>> {
        let mut state = self.lock();
        loop {
            let batch = state.queue.take(Instant::now(), &*self.observer);
            if !batch.requests.is_empty() {
                return Some(batch);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The batch in hand was run.
    pub(super) fn finished(&self, took: Duration) {
        self.lock().queue.finished(took);
    }

    pub(super) fn close(&self, how: Close) {
        let mut state = self.lock();
        state.closed = true;
        if how == Close::AfterBatch {
            state.queue.clear();
        }
        drop(state);
        self.changed.notify_all();
    }
}
