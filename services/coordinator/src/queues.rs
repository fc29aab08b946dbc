//! One queue for each kind of worker, and how they stand.

use crate::Error;
use rlaif_job::WorkerKind;
use rlaif_queue::{Address, Options, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub async fn connect(address: &Address, options: &Options) -> Result<Self, rlaif_queue::Error> {
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

/// What is wrong with a queue, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// It does not answer, or takes nothing that is written.
    Away,
    /// The artifact store behind it does not answer.
    StoreAway,
    /// It takes no more items for now.
    Full,
}

impl Trouble {
    /// What an error that passes by itself comes of.
    fn behind(error: &Error) -> Self {
        match error {
            Error::Artifacts(_) => Self::StoreAway,
            _ => Self::Away,
        }
    }
}

/// A way through a queue. How it stands on one says nothing about the other: a Redis that cannot write still
/// answers who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Items to workers.
    HandOut,
    /// Results back.
    TakeIn,
}

/// Keeps the troubles of queues, and logs each change once. A trouble that was met on one way is over when
/// somebody gets through on that way.
#[derive(Default)]
pub struct Standing(Mutex<Known>);

#[derive(Default)]
struct Known {
    troubles: BTreeMap<(WorkerKind, Way), Trouble>,
    /// Queues that were offered something in this round.
    offered: BTreeSet<WorkerKind>,
}

impl Standing {
    /// No code under the guard waits or panics.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst that is wrong with a queue; none where it is well.
    pub fn of(&self, kind: WorkerKind) -> Option<Trouble> {
        self.known().worst(kind)
    }

    /// Whether any queue has `trouble`.
    pub fn any(&self, trouble: Trouble) -> bool {
        self.known().troubles.values().any(|known| *known == trouble)
    }

    /// Whether all queues are well.
    pub fn is_well(&self) -> bool {
        self.known().troubles.is_empty()
    }

    /// All results there are were taken in and acknowledged.
    pub fn took_in(&self, kind: WorkerKind) {
        self.known().end(kind, Way::TakeIn);
    }

    /// Results could not be read, taken in or acknowledged.
    pub fn cannot_take_in(&self, kind: WorkerKind, error: &Error) {
        self.known().begin(kind, Way::TakeIn, Trouble::behind(error), Some(error));
    }

    /// The queue took all that it was offered.
    pub fn took_all(&self, kind: WorkerKind) {
        let mut known = self.known();
        known.offered.insert(kind);
        known.end_unless_full(kind);
    }

    /// Items could not be offered.
    pub fn cannot_offer(&self, kind: WorkerKind, error: &Error) {
        let mut known = self.known();
        known.offered.insert(kind);
        known.begin(kind, Way::HandOut, Trouble::behind(error), Some(error));
    }

    /// The queue refused items.
    pub fn full(&self, kind: WorkerKind) {
        let mut known = self.known();
        known.offered.insert(kind);
        known.begin(kind, Way::HandOut, Trouble::Full, None);
    }

    /// Somebody without items saw whether the queue is full for new jobs, which it is before it refuses items
    /// of those that run. That it is not ends nothing else: to look is not to get through.
    pub fn looked_at(&self, kind: WorkerKind, is_full: bool) {
        let mut known = self.known();
        match (known.troubles.get(&(kind, Way::HandOut)).copied(), is_full) {
            (None, true) => known.begin(kind, Way::HandOut, Trouble::Full, None),
            (Some(Trouble::Full), false) => known.end(kind, Way::HandOut),
            _ => {}
        }
    }

    /// All that is unanswered was offered. Where that was nothing, nobody waits any more to get through.
    pub fn round_ended(&self) {
        let mut known = self.known();
        let offered = std::mem::take(&mut known.offered);
        for kind in WorkerKind::ALL.into_iter().filter(|kind| !offered.contains(kind)) {
            known.end_unless_full(kind);
        }
    }
}

impl Known {
    fn worst(&self, kind: WorkerKind) -> Option<Trouble> {
        let on = |way: Way| self.troubles.get(&(kind, way)).copied();
        [Way::HandOut, Way::TakeIn].into_iter().filter_map(on).min()
    }

    fn begin(&mut self, kind: WorkerKind, way: Way, trouble: Trouble, error: Option<&Error>) {
        if self.troubles.insert((kind, way), trouble) == Some(trouble) {
            return;
        }
        let (queue, error) = (kind.queue(), error.map(tracing::field::display));
        match trouble {
            Trouble::Away => tracing::error!(queue, error, "the queue is away; trying again"),
            Trouble::StoreAway => {
                tracing::error!(queue, error, "the artifact store is away; trying again");
            }
            Trouble::Full => tracing::warn!(queue, "the queue is full; offering again later"),
        }
    }

    /// Whether a queue is still full is for who looks to say.
    fn end_unless_full(&mut self, kind: WorkerKind) {
        if self.troubles.get(&(kind, Way::HandOut)) != Some(&Trouble::Full) {
            self.end(kind, Way::HandOut);
        }
    }

    fn end(&mut self, kind: WorkerKind, way: Way) {
        if self.troubles.remove(&(kind, way)).is_some() && self.worst(kind).is_none() {
            tracing::info!(queue = kind.queue(), "the queue is well again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: WorkerKind = WorkerKind::Labeler;

    fn store_error() -> Error {
        Error::Artifacts(rlaif_artifacts::Error::NotFound { name: "payload".to_owned() })
    }

    /// As with a Redis whose disk is full: empty results can be read from it every second.
    #[test]
    fn who_reads_does_not_end_what_keeps_others_from_writing() {
        let standing = Standing::default();
        standing.cannot_offer(KIND, &Error::QueueAway);
        standing.took_in(KIND);
        standing.looked_at(KIND, false);
        assert_eq!(standing.of(KIND), Some(Trouble::Away));
        assert_eq!(standing.of(WorkerKind::Learner), None);
        standing.took_all(KIND);
        assert_eq!(standing.of(KIND), None);

        standing.cannot_take_in(KIND, &Error::QueueAway);
        standing.took_all(KIND);
        assert!(standing.any(Trouble::Away));
        standing.took_in(KIND);
        assert!(standing.is_well());
    }

    #[test]
    fn a_trouble_that_nobody_meets_any_more_is_over() {
        let standing = Standing::default();
        standing.cannot_offer(KIND, &store_error());
        standing.round_ended();
        assert_eq!(standing.of(KIND), Some(Trouble::StoreAway), "its job offered in this round");
        // The job was cancelled.
        standing.round_ended();
        assert_eq!(standing.of(KIND), None);
    }

    #[test]
    fn a_full_queue_is_seen_without_an_item_and_has_room_again_without_one() {
        let standing = Standing::default();
        standing.looked_at(KIND, true);
        standing.took_all(KIND);
        standing.round_ended();
        assert_eq!(standing.of(KIND), Some(Trouble::Full), "for new jobs");
        standing.looked_at(KIND, false);
        assert_eq!(standing.of(KIND), None);
        standing.full(KIND);
        standing.cannot_take_in(KIND, &Error::QueueAway);
        assert_eq!(standing.of(KIND), Some(Trouble::Away), "the worst is shown");
    }
}
