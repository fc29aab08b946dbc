//! Who works at a queue, for people who watch.

use crate::ItemId;
use std::time::Duration;

/// A worker as the queue sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The name that attempts are recorded under: the worker's own, a dot, and a random suffix.
    pub consumer: String,
    /// How long the queue has not heard of it. One that waits for work asks every few seconds.
    pub silent: Duration,
    /// What it has in hand.
    pub held: Vec<Held>,
}

/// An item in a worker's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub item: ItemId,
    /// How often it was started, this time included.
    pub starts: u32,
    /// False while it only waits for its worker to be free.
    pub is_started: bool,
    /// How long its lease was not renewed; others may take it at [`Options::lease`](crate::Options).
    pub silent: Duration,
}

impl Worker {
    /// The worker's own name.
    pub fn name(&self) -> &str {
        self.consumer.rsplit_once('.').map_or(self.consumer.as_str(), |(name, _)| name)
    }

    /// The worker called `consumer` among `workers`, which gets it where it is new.
    pub(crate) fn among<'a>(
        workers: &'a mut Vec<Self>,
        consumer: &str,
        silent: Duration,
    ) -> &'a mut Self {
        let known = workers.iter().position(|worker| worker.consumer == consumer);
        let at = known.unwrap_or_else(|| {
            workers.push(Self { consumer: consumer.to_owned(), silent, held: Vec::new() });
            workers.len() - 1
        });
        &mut workers[at]
    }
}
