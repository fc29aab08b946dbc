//! What travels: items on their way to workers, and what came of them.

use crate::{Error, Options};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A producer's name for an item, such as `job/label/17`: the key by which the queue refuses
/// duplicates and the consumer of results deduplicates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(String);

impl ItemId {
    /// Longest id.
    pub const MAX_BYTES: usize = 256;

    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for ItemId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Small strings that accompany an item to its worker and back with its result: W3C `traceparent`,
/// a deadline.
pub type Headers = BTreeMap<String, String>;

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The producer's name for it.
    pub id: ItemId,
    /// What accompanies it.
    pub headers: Headers,
    /// What only producer and worker understand.
    pub payload: Vec<u8>,
}

impl Item {
    /// An item without headers.
    pub fn new(id: impl Into<ItemId>, payload: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), headers: Headers::new(), payload: payload.into() }
    }

    pub(crate) fn check(&self, options: &Options) -> Result<(), Error> {
        if self.id.0.is_empty() || self.id.0.len() > ItemId::MAX_BYTES {
            return Err(Error::ItemId(self.id.clone()));
        }
        options.check_payload("a payload", &self.payload)?;
        let bytes = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let limit = options.max_header_bytes;
        if bytes > limit {
            return Err(Error::TooLarge { what: "a set of headers", bytes, limit });
        }
        Ok(())
    }
}

/// What became of an enqueued item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue now.
    Added,
    /// An item with its id is in the queue already, in whatever state; nothing was changed.
    Duplicate,
}

/// A place in a stream of the queue. Ordered; meaningful only for the queue it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Milliseconds of a Unix clock, in Redis.
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { ms: 0, seq: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers =
            text.split_once('-').and_then(|(ms, seq)| Some((ms.parse().ok()?, seq.parse().ok()?)));
        let (ms, seq) = numbers.ok_or_else(|| Error::Unreadable(format!("position {text:?}")))?;
        Ok(Self { ms, seq })
    }
}

/// An entry of the result stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultEntry {
    /// Its place, for [`Queue::acknowledge`](crate::Queue::acknowledge).
    pub position: Position,
    /// The item that it is about.
    pub item: ItemId,
    /// The item's headers.
    pub headers: Headers,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened to an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done {
        /// The worker's result.
        payload: Vec<u8>,
        /// The start that succeeded, counted from 1.
        attempts: u32,
    },
    /// It was given up.
    Dead(Death),
    /// Its worker says how far it is. Advisory: such messages may be missing.
    Progress(Vec<u8>),
}

/// Why an item was given up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Death {
    /// Reason of the last attempt.
    pub error: String,
    /// All attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

impl Death {
    pub(crate) fn after(attempts: Vec<Attempt>) -> Self {
        let error = attempts.last().map(|last| last.reason.clone()).unwrap_or_default();
        Self { error, attempts }
    }
}

/// A start that did not end in a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The consumer that had started it.
    pub worker: String,
    /// When it was given up, in milliseconds of the queue's clock.
    pub unix_ms: u64,
    /// Why.
    pub reason: String,
}

/// An item that was given up and is kept until it is requeued or discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place among the dead letters.
    pub position: Position,
    /// The item as it was enqueued.
    pub item: Item,
    /// Why it was given up.
    pub death: Death,
}

/// How much a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Items accepted and not settled, whether or not a worker has them.
    pub outstanding: u64,
    /// How long ago the oldest of them was enqueued, or requeued; none where nothing is outstanding.
    pub oldest_age: Option<Duration>,
    /// Items that were given up and are kept.
    pub dead_letters: u64,
    /// Who has not begun to add items should not begin: as many are held as may be, or three quarters of
    /// Redis's `maxmemory` are taken. Those who have are refused at four fifths.
    pub is_full: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_number_and_survive_writing() {
        let (nine, ten) = (Position { ms: 9, seq: 12 }, Position { ms: 10, seq: 2 });
        assert!(Position::START < nine && nine < ten);
        assert_eq!(ten.to_string().parse::<Position>().unwrap(), ten);
        assert!("10".parse::<Position>().is_err());
    }

    #[test]
    fn a_payload_over_the_limit_is_refused_with_the_way_out() {
        let options = Options { max_payload_bytes: 4, ..Options::default() };
        Item::new("a", *b"1234").check(&options).unwrap();
        let error = Item::new("a", *b"12345").check(&options).unwrap_err().to_string();
        assert!(error.contains("5 bytes") && error.contains("artifact store"), "{error}");
        assert!(matches!(Item::new("", *b"1").check(&options), Err(Error::ItemId(_))));
    }
}
