//! The protocol: the atomic steps that a queue's state makes, as each implementation provides them.
//!
//! Everything with patience (leases that renew themselves, waiting, running suspects alone) is built
//! on top, once, in `consumer`. Every step may be repeated when its answer was lost.

use crate::{
    DeadLetter, Depth, Enqueued, Error, Headers, Item, ItemId, Position, ResultEntry, Warning,
    Worker,
};
use async_trait::async_trait;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An item as it lies in the work stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub position: Position,
    pub item: Item,
}

/// An entry that was taken from an owner who released it, failed it or fell silent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Taken {
    pub entry: Entry,
    /// A start of it was lost with its worker, which it may have killed: it runs alone.
    pub suspect: bool,
    /// That start was lost just now, and found lost by this step.
    pub lost: bool,
}

/// The right to settle one start of an entry. The nonce makes it unique, even if Redis forgets the
/// newest starts in a crash and counts them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    /// The start, counted from 1.
    pub start: u32,
    pub nonce: u64,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:x}", self.start, self.nonce)
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.split_once(':').and_then(|(start, nonce)| {
            Some((start.parse().ok()?, u64::from_str_radix(nonce, 16).ok()?))
        });
        let (start, nonce) = parts.ok_or_else(|| Error::Unreadable(format!("token {text:?}")))?;
        Ok(Self { start, nonce })
    }
}

/// Who claims to hold what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Claim<'a> {
    pub consumer: &'a str,
    pub entry: Position,
    pub token: Token,
}

/// Answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// It held (or had held, for a step whose first answer was lost).
    Holds,
    /// Another start or another owner came after it.
    Fenced,
    /// The entry was settled and acknowledged, or cancelled.
    Gone,
}

/// Answer to START.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Started {
    Token {
        token: Token,
        /// Trace context of the start before, where both are traced. Lost with a lost answer.
        before: Option<String>,
    },
    /// It had used up its starts and is a dead letter now.
    Dead,
    Fenced,
    Gone,
}

/// What a consumer has in hand: with a token once it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InHand {
    pub entry: Position,
    pub token: Option<Token>,
}

/// What a consumer hands back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handback {
    pub held: InHand,
    /// A deliberate hand-over returns the start; a lease that was merely dropped keeps it counted,
    /// since a panic may have dropped it.
    pub returns_start: bool,
    /// It rests for a lease before anybody may have it.
    pub rests: bool,
}

pub(crate) const LOST: &str = "lost: its worker fell silent for longer than the lease";
pub(crate) const DROPPED: &str = "dropped by its worker without a result";

#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// What keeps it, as OpenTelemetry's `messaging.system`.
    fn system(&self) -> &'static str;

    /// Adds items in order until the queue is full; answers for those it took.
    async fn enqueue(&self, items: &[Item]) -> Result<Vec<Enqueued>, Error>;

    /// Hands out entries never handed out before, waiting up to `wait` for the first.
    async fn read(&self, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, Error>;

    /// Takes one entry that is released or whose lease is over.
    async fn take(&self, consumer: &str) -> Result<Option<Taken>, Error>;

    /// `trace` is the context that this start is done in; empty where it is not traced.
    async fn start(
        &self,
        consumer: &str,
        entry: Position,
        nonce: u64,
        trace: &str,
    ) -> Result<Started, Error>;

    /// Renews what still holds; entries not started are renewed by ownership alone.
    async fn heartbeat(&self, consumer: &str, held: &[InHand]) -> Result<Vec<Standing>, Error>;

    async fn commit(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Standing, Error>;

    /// Records an attempt; the item rests for the retry delay, or dies with its last start.
    async fn fail(&self, claim: Claim<'_>, reason: &str) -> Result<Standing, Error>;

    /// Makes entries claimable: at once, or after their rest.
    async fn release(&self, consumer: &str, given: &[Handback]) -> Result<Vec<Standing>, Error>;

    /// Appends an advisory result unless too many are unread; whether it did.
    async fn progress(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<bool, Error>;

    async fn results(
        &self,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ResultEntry>, Error>;

    async fn acknowledge(&self, upto: Position) -> Result<(), Error>;

    async fn outstanding(&self) -> Result<u64, Error>;

    async fn depth(&self) -> Result<Depth, Error>;

    /// Who works, with up to `max` of the items in their hands.
    async fn workers(&self, max: usize) -> Result<Vec<Worker>, Error>;

    async fn dead_letters(&self, after: Position, max: usize) -> Result<Vec<DeadLetter>, Error>;

    async fn requeue(&self, ids: &[ItemId]) -> Result<usize, Error>;

    async fn cancel(&self, ids: &[ItemId]) -> Result<usize, Error>;

    async fn discard(&self, ids: &[ItemId]) -> Result<usize, Error>;

    /// Forgets a consumer that owns nothing.
    async fn leave(&self, consumer: &str) -> Result<(), Error>;

    async fn probe(&self) -> Result<Vec<Warning>, Error>;
}
