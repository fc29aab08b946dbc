//! What can go wrong with a queue.

use crate::ItemId;
use redis::{ErrorKind, RedisError};
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
    #[error(
        "queue.url or queue.ca_file cannot be used: {0}; write redis://user:password@host:port/db, rediss:// for TLS, \
         redis+unix:///path for a socket"
    )]
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
    /// Redis lets nobody in who says of themselves what the address says.
    #[error("{}; {}", .0.what(), .0.mend())]
    Denied(Denial),
    /// Redis answered with an error that trying again does not mend.
    #[error(
        "redis refused {operation}: {answer}; rlaif doctor looks whether it is as queues need it, and its user \
         may do what they do"
    )]
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

/// Why Redis lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// It wants a password, and the address has none.
    NoPassword,
    /// It does not know the user of the address, or not with that password.
    WrongPassword,
}

impl Denial {
    /// What is wrong.
    pub fn what(self) -> &'static str {
        match self {
            Self::NoPassword => "redis refuses us without a password, and queue.url has none",
            Self::WrongPassword => "redis refuses us with the user and password of queue.url",
        }
    }

    /// How to mend it.
    pub fn mend(self) -> &'static str {
        match self {
            Self::NoPassword => {
                "set queue.url (RLAIF__QUEUE__URL) to redis://user:password@host:port, with a user that \
                 redis-cli ACL LIST shows, or to redis://:password@host:port where there is only requirepass"
            }
            Self::WrongPassword => {
                "correct user and password in queue.url (RLAIF__QUEUE__URL), redis://user:password@host:port: \
                 redis-cli ACL LIST shows who is known and on; @, : and / within them are %40, %3A and %2F"
            }
        }
    }

    /// What an answer of Redis says about that; none of any other.
    pub(crate) fn of(answer: &RedisError) -> Option<Self> {
        if answer.kind() == ErrorKind::AuthenticationFailed || answer.code() == Some("WRONGPASS") {
            return Some(Self::WrongPassword);
        }
        // Of whom it does not know, Redis reads no long command, and calls that an error of the protocol.
        let unread = |detail: &str| detail.starts_with("Protocol error: unauthenticated");
        let unknown = answer.code() == Some("NOAUTH") || answer.detail().is_some_and(unread);
        unknown.then_some(Self::NoPassword)
    }
}
