//! The queue of a single process: the protocol's state machine under a lock, with a clock.

mod machine;

pub(crate) use machine::Machine;

use crate::store::{Claim, Entry, Handback, InHand, Standing, Started, Store, Taken};
use crate::{
    DeadLetter, Depth, Enqueued, Error, Headers, Item, ItemId, Options, Position, ResultEntry,
    Warning, Worker,
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

pub(crate) struct InMemory {
    machine: Mutex<Machine>,
    /// Told after every step, so that readers look again.
    changed: watch::Sender<()>,
    clock: Clock,
}

/// Unix time that never goes backwards.
struct Clock {
    unix_ms_at_start: u64,
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { unix_ms_at_start: millis(unix), started: Instant::now() }
    }

    fn now_ms(&self) -> u64 {
        self.unix_ms_at_start + millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl InMemory {
    pub fn new(options: Arc<Options>) -> Self {
        let machine = Mutex::new(Machine::new(options));
        Self { machine, changed: watch::Sender::new(()), clock: Clock::start() }
    }

    fn step<T>(&self, step: impl FnOnce(&mut Machine, u64) -> T) -> T {
        // No step panics, so a poisoned machine cannot be met.
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = step(&mut machine, self.clock.now_ms());
        drop(machine);
        self.changed.send_replace(());
        answer
    }

    /// Looks now and after every change until something is found or `wait` is over.
    async fn wait_for<T>(
        &self,
        wait: Duration,
        mut look: impl FnMut(&mut Machine, u64) -> Vec<T>,
    ) -> Vec<T> {
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                changed.mark_unchanged();
                let found = {
                    let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
                    look(&mut machine, self.clock.now_ms())
                };
                // The sender is a field of `self`, so waiting for it cannot fail.
                if !found.is_empty() || changed.changed().await.is_err() {
                    return found;
                }
            }
        };
        tokio::time::timeout(wait, search).await.unwrap_or_default()
    }
}

#[async_trait]
impl Store for InMemory {
    fn system(&self) -> &'static str {
        "memory"
    }

    async fn enqueue(&self, items: &[Item]) -> Result<Vec<Enqueued>, Error> {
        Ok(self.step(|machine, now| machine.enqueue(items, now)))
    }

    async fn read(&self, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, Error> {
        Ok(self.wait_for(wait, |machine, now| machine.read(consumer, max, now)).await)
    }

    async fn take(&self, consumer: &str) -> Result<Option<Taken>, Error> {
        Ok(self.step(|machine, now| machine.take(consumer, now)))
    }

    async fn start(
        &self,
        consumer: &str,
        entry: Position,
        nonce: u64,
        trace: &str,
    ) -> Result<Started, Error> {
        Ok(self.step(|machine, now| machine.start(consumer, entry, nonce, trace, now)))
    }

    async fn heartbeat(&self, consumer: &str, held: &[InHand]) -> Result<Vec<Standing>, Error> {
        Ok(self.step(|machine, now| machine.heartbeat(consumer, held, now)))
    }

    async fn commit(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Standing, Error> {
        Ok(self.step(|machine, _| machine.commit(claim, item, headers, payload)))
    }

    async fn fail(&self, claim: Claim<'_>, reason: &str) -> Result<Standing, Error> {
        Ok(self.step(|machine, now| machine.fail(claim, reason, now)))
    }

    async fn release(&self, consumer: &str, given: &[Handback]) -> Result<Vec<Standing>, Error> {
        Ok(self.step(|machine, now| machine.release(consumer, given, now)))
    }

    async fn progress(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<bool, Error> {
        Ok(self.step(|machine, _| machine.progress(claim, item, headers, payload)))
    }

    async fn results(
        &self,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ResultEntry>, Error> {
        Ok(self.wait_for(wait, |machine, _| machine.results(after, max)).await)
    }

    async fn acknowledge(&self, upto: Position) -> Result<(), Error> {
        self.step(|machine, _| machine.acknowledge(upto));
        Ok(())
    }

    async fn outstanding(&self) -> Result<u64, Error> {
        Ok(self.step(|machine, _| machine.outstanding()))
    }

    async fn depth(&self) -> Result<Depth, Error> {
        Ok(self.step(|machine, now| machine.depth(now)))
    }

    async fn workers(&self, max: usize) -> Result<Vec<Worker>, Error> {
        Ok(self.step(|machine, now| machine.workers(max, now)))
    }

    async fn dead_letters(&self, after: Position, max: usize) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.step(|machine, _| machine.dead_letters(after, max)))
    }

    async fn requeue(&self, ids: &[ItemId]) -> Result<usize, Error> {
        Ok(self.step(|machine, now| machine.requeue(ids, now)))
    }

    async fn cancel(&self, ids: &[ItemId]) -> Result<usize, Error> {
        Ok(self.step(|machine, _| machine.cancel(ids)))
    }

    async fn discard(&self, ids: &[ItemId]) -> Result<usize, Error> {
        Ok(self.step(|machine, _| machine.discard(ids)))
    }

    /// Nothing is kept of a consumer but what it owns.
    async fn leave(&self, _consumer: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn probe(&self) -> Result<Vec<Warning>, Error> {
        Ok(Vec::new())
    }
}
