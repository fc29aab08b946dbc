//! The handle: what producers, the consumer of results and operators do with a queue.

use crate::consumer::Consumer;
use crate::in_memory::InMemory;
use crate::redis_streams::{Address, RedisStreams, Warning};
use crate::store::Store;
use crate::{
    DeadLetter, Depth, Enqueued, Error, Item, ItemId, Options, Position, ResultEntry, Worker,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A queue; clones are the same queue.
///
/// Every method may be called again when its answer was lost. Over Redis each tries for
/// [`Options::patience`] before it fails with [`Error::Unavailable`] or [`Error::Unwritable`].
#[derive(Clone)]
pub struct Queue {
    pub(crate) store: Arc<dyn Store>,
    options: Arc<Options>,
    takeovers: Arc<AtomicU64>,
}

impl Queue {
    /// A queue that lives and dies with this process.
    ///
    /// # Errors
    /// When the options make no sense.
    pub fn in_memory(options: Options) -> Result<Self, Error> {
        options.validate()?;
        let options = Arc::new(options);
        Ok(Self::over(InMemory::new(options.clone()), options))
    }

    /// The queue called `name` in a Redis, from 7.0 on; waits for it to come up.
    ///
    /// # Errors
    /// When the name, the address or the options make no sense, or Redis cannot be reached.
    pub async fn redis(name: &str, address: &Address, options: Options) -> Result<Self, Error> {
        options.validate()?;
        let options = Arc::new(options);
        let store = RedisStreams::connect(name, address, options.clone()).await?;
        Ok(Self::over(store, options))
    }

    fn over(store: impl Store, options: Arc<Options>) -> Self {
        Self { store: Arc::new(store), options, takeovers: Arc::default() }
    }

    /// What keeps the queue, as OpenTelemetry's attribute `messaging.system` has it.
    pub fn system(&self) -> &'static str {
        self.store.system()
    }

    /// Adds items in order; an id that the queue knows is a duplicate, whatever its payload.
    ///
    /// # Errors
    /// [`Error::Full`] tells how many of the batch were taken: it holds [`Options::max_outstanding`], four
    /// fifths of Redis's `maxmemory` are taken, or Redis writes nothing. An item over the limits refuses
    /// the whole batch.
    pub async fn enqueue(&self, items: Vec<Item>) -> Result<Vec<Enqueued>, Error> {
        items.iter().try_for_each(|item| item.check(&self.options))?;
        let answers = self.store.enqueue(&items).await?;
        if answers.len() < items.len() {
            let retry_after = self.options.retry_after;
            return Err(Error::Full { accepted: answers.len(), retry_after });
        }
        Ok(answers)
    }

    /// A new consumer of work. `worker` is what attempts are recorded under; a random suffix keeps
    /// two of one name apart.
    ///
    /// # Panics
    /// Outside a tokio runtime: its heartbeats run there.
    pub fn consumer(&self, worker: &str) -> Consumer {
        let name = format!("{worker}.{:08x}", rand::random::<u32>());
        Consumer::new(self.store.clone(), name, self.options.clone(), self.takeovers.clone())
    }

    /// How many items the consumers of this handle and its clones took over from one that fell silent
    /// after starting them.
    pub fn takeovers(&self) -> u64 {
        self.takeovers.load(Ordering::Relaxed)
    }

    /// Up to `max` results after a position, waiting up to `wait` for the first.
    ///
    /// Results come at least once, and only what was acknowledged is gone: a consumer that was
    /// restarted begins at [`Position::START`] again and knows by item id what it has. For one
    /// consumer; concurrent calls take turns.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn results(
        &self,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ResultEntry>, Error> {
        self.store.results(after, max.max(1), wait).await
    }

    /// Trims the results up to and including `position` and forgets the ids of the items done by
    /// them. To be called only when they are durable elsewhere.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn acknowledge(&self, position: Position) -> Result<(), Error> {
        self.store.acknowledge(position).await
    }

    /// Items accepted and not settled, whether or not a worker has them: what to scale workers on.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn outstanding(&self) -> Result<u64, Error> {
        self.store.outstanding().await
    }

    /// How much it holds, for how long already, and whether it takes more. Answered where writes are
    /// taken: as good as a write to tell whether Redis does what is asked of it.
    ///
    /// # Errors
    /// When Redis stays away, or takes no writes.
    pub async fn depth(&self) -> Result<Depth, Error> {
        self.store.depth().await
    }

    /// Workers that have something in hand, with up to `max` of those items, the oldest; over Redis
    /// also the workers that wait for work, and those that were killed while they did.
    ///
    /// # Errors
    /// When Redis stays away, or does not let us ask.
    pub async fn workers(&self, max: usize) -> Result<Vec<Worker>, Error> {
        self.store.workers(max.max(1)).await
    }

    /// How patient it is, and how much it holds.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Up to `max` dead letters after a position, oldest first.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn dead_letters(
        &self,
        after: Position,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.store.dead_letters(after, max.max(1)).await
    }

    /// Puts dead letters back to work with all their starts; how many there were. Their earlier
    /// result, dead, may still be unread and come before the new one.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn requeue(&self, ids: &[ItemId]) -> Result<usize, Error> {
        self.store.requeue(ids).await
    }

    /// Removes items that are not settled; how many there were. A worker that has one in hand is told
    /// so, and its result is refused. A dead letter stays, also one of the last moment.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn cancel(&self, ids: &[ItemId]) -> Result<usize, Error> {
        self.store.cancel(ids).await
    }

    /// Removes dead letters; how many there were.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn discard(&self, ids: &[ItemId]) -> Result<usize, Error> {
        self.store.discard(ids).await
    }

    /// What about this Redis breaks the queue's promises; nothing, if all is well.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn probe(&self) -> Result<Vec<Warning>, Error> {
        self.store.probe().await
    }
}
