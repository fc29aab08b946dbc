//! What can go wrong with a queue.

use crate::ItemId;
use std::time::Duration;

/// An operation on a queue that was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue holds as many items as it may.
    #[error(
        "the queue is full: {accepted} items of this batch were taken; offer the rest again after {retry_after:?}"
    )]
    Full {
        /// Items from the front of the batch that are in the queue (added or duplicate).
        accepted: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// A payload or headers beyond the limit.
    #[error(
        "{what} of {bytes} bytes is over the limit of {limit}: put it into the artifact store and send its reference"
    )]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit of [`Options`](crate::Options).
        limit: usize,
    },
    /// An item id that is empty or longer than [`ItemId::MAX_BYTES`].
    #[error("the item id {0:?} must have 1 to {max} bytes", max = ItemId::MAX_BYTES)]
    ItemId(ItemId),
    /// A queue name that cannot stand in a key.
    #[error("the queue name {0:?} must be 1 to 64 of the characters a-z A-Z 0-9 . _ -")]
    Name(String),
    /// An option without sense.
    #[error("the queue option {option} must be {expected}")]
    Options {
        /// Its name.
        option: &'static str,
        /// What is accepted.
        expected: String,
    },
    /// The URL or the TLS files cannot be used.
    #[error("the queue's Redis cannot be used as configured: {0}")]
    Configuration(String),
    /// Redis stayed away longer than [`Options::patience`](crate::Options::patience). Whether the
    /// operation was done is unknown; doing it again is safe.
    #[error("redis did not answer for {patience:?}; is it up and reachable?")]
    Unavailable {
        /// How long was tried.
        patience: Duration,
        /// The last failure.
        source: redis::RedisError,
    },
    /// Redis answered, and for longer than [`Options::patience`](crate::Options::patience) took nothing that
    /// is written: its disk or its memory is full, or it lacks replicas. The operation was not done.
    #[error("redis has taken no writes for {patience:?}: {answer}")]
    Unwritable {
        /// How long was tried.
        patience: Duration,
        /// Its last answer.
        answer: redis::RedisError,
    },
    /// Redis answered with an error that trying again does not mend.
    #[error("redis refused {operation}: {answer}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// Its answer.
        answer: redis::RedisError,
    },
    /// What lies under the queue's keys was not written by this protocol.
    #[error("an entry of the queue is unreadable ({0}): do other programs write to its keys?")]
    Unreadable(String),
}

impl Error {
    /// Whether it passes by itself: Redis is away, or takes no writes for now.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unwritable { .. })
    }
}
