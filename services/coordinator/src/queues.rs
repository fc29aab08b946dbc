//! One queue for each kind of worker, and how they stand.

use rlaif_job::WorkerKind;
use rlaif_queue::{Address, Error, Options, Queue};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// One queue for each kind of worker.
#[derive(Clone)]
pub struct Queues(BTreeMap<WorkerKind, Queue>);

impl Queues {
    /// Makes one queue for each kind.
    ///
    /// # Errors
    /// At the first that cannot be made.
    pub fn new<E>(mut make: impl FnMut(WorkerKind) -> Result<Queue, E>) -> Result<Self, E> {
        let each = WorkerKind::ALL.into_iter().map(|kind| Ok((kind, make(kind)?)));
        Ok(Self(each.collect::<Result<_, _>>()?))
    }

    /// The queues of a cluster, in its Redis.
    ///
    /// # Errors
    /// When address or options make no sense, or Redis cannot be reached.
    pub async fn connect(address: &Address, options: &Options) -> Result<Self, Error> {
        let mut queues = BTreeMap::new();
        for kind in WorkerKind::ALL {
            queues.insert(kind, Queue::redis(kind.queue(), address, options.clone()).await?);
        }
        Ok(Self(queues))
    }

    /// The queue of a kind.
    pub fn of(&self, kind: WorkerKind) -> &Queue {
        &self.0[&kind]
    }

    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = (WorkerKind, &Queue)> {
        self.0.iter().map(|(kind, queue)| (*kind, queue))
    }
}

/// What is wrong with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It, or the artifact store behind it, does not answer.
    Away,
    /// It takes no more items for now.
    Full,
}

/// Queues with troubles; those not in it are well.
pub type Troubles = BTreeMap<WorkerKind, Trouble>;

/// Keeps the troubles, tells who watches, and logs each change once.
pub struct Standing(watch::Sender<Troubles>);

impl Standing {
    /// All queues are well.
    pub fn new() -> Self {
        Self(watch::Sender::new(Troubles::new()))
    }

    /// The troubles, now and from now on.
    pub fn subscribe(&self) -> watch::Receiver<Troubles> {
        self.0.subscribe()
    }

    /// Whether any queue has `trouble`.
    pub fn any(&self, trouble: Trouble) -> bool {
        self.0.borrow().values().any(|known| *known == trouble)
    }

    /// Whether all queues are well.
    pub fn is_well(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The queue, or the artifact store behind it, did not answer.
    pub fn away(&self, kind: WorkerKind, error: &dyn std::fmt::Display) {
        if self.set(kind, Some(Trouble::Away)) {
            tracing::error!(queue = kind.queue(), %error, "the queue is away; trying again");
        }
    }

    /// The queue answered; whether it is full is not known by that.
    pub fn answered(&self, kind: WorkerKind) {
        if self.0.borrow().get(&kind) == Some(&Trouble::Away) {
            self.took_all(kind);
        }
    }

    /// The queue took all that it was given.
    pub fn took_all(&self, kind: WorkerKind) {
        if self.set(kind, None) {
            tracing::info!(queue = kind.queue(), "the queue is well again");
        }
    }

    /// The queue refused items.
    pub fn full(&self, kind: WorkerKind) {
        if self.set(kind, Some(Trouble::Full)) {
            tracing::warn!(queue = kind.queue(), "the queue is full; offering again later");
        }
    }

    /// True where it changes something.
    fn set(&self, kind: WorkerKind, trouble: Option<Trouble>) -> bool {
        self.0.send_if_modified(|troubles| match trouble {
            Some(trouble) => troubles.insert(kind, trouble) != Some(trouble),
            None => troubles.remove(&kind).is_some(),
        })
    }
}
