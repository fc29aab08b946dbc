//! A delivery becomes a lease by starting it, and a lease is settled once.

use crate::hands::Hold;
use crate::store::{Claim, Entry, Handback, InHand, Standing, Started, Token};
use crate::{Error, Headers, ItemId};
use tokio_util::sync::CancellationToken;

/// Longest reason of a failure that is kept, in bytes.
const MAX_REASON_BYTES: usize = 1024;
/// Longest trace context that is kept, in bytes; a `traceparent` of version 00 has 55.
const MAX_TRACE_BYTES: usize = 128;

/// An item in the hands of a consumer, not started. Dropping it hands it back at no cost to it.
pub struct Delivery {
    entry: Entry,
    hold: Hold,
}

impl Delivery {
    pub(crate) fn new(entry: Entry, hold: Hold) -> Self {
        Self { entry, hold }
    }

    /// The item's id.
    pub fn id(&self) -> &ItemId {
        &self.entry.item.id
    }

    /// What accompanies the item.
    pub fn headers(&self) -> &Headers {
        &self.entry.item.headers
    }

    /// What to do.
    pub fn payload(&self) -> &[u8] {
        &self.entry.item.payload
    }

    /// Takes the fencing token and counts a start. `None` when the item is not to be run: it has
    /// used up its starts and became a dead letter by this call, another consumer has it, or it was
    /// cancelled.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn start(self) -> Result<Option<Lease>, Error> {
        self.start_in("").await
    }

    /// Like [`start`](Self::start), and keeps `trace`, the W3C `traceparent` of the span that the
    /// work is done in, beside the fencing token: whoever starts the item next is told it, also when
    /// this worker never comes back. Contexts of more than 128 bytes are not kept.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn start_in(self, trace: &str) -> Result<Option<Lease>, Error> {
        let trace = if trace.len() <= MAX_TRACE_BYTES { trace } else { "" };
        let Self { entry, hold } = self;
        if !hold.in_hand() {
            return Ok(None);
        }
        let hands = &hold.hands;
        match hands.store.start(&hands.consumer, entry.position, rand::random(), trace).await? {
            Started::Token { token, before } if hold.started(token) => {
                Ok(Some(Lease { entry, hold, token, before }))
            }
            // A shutdown handed it back without this token while it was being taken.
            Started::Token { token, .. } => {
                let held = InHand { entry: entry.position, token: Some(token) };
                let given = [Handback { held, returns_start: true, rests: false }];
                hands.store.release(&hands.consumer, &given).await?;
                Ok(None)
            }
            Started::Dead | Started::Fenced | Started::Gone => {
                hold.settle();
                Ok(None)
            }
        }
    }
}

/// What came of an attempt to settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// It counts.
    Accepted,
    /// Refused: the lease had passed to another start.
    Fenced,
    /// Refused: the item was cancelled, or is settled and acknowledged.
    Gone,
}

impl From<Standing> for Settlement {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Holds => Self::Accepted,
            Standing::Fenced => Self::Fenced,
            Standing::Gone => Self::Gone,
        }
    }
}

/// A started item. It is renewed in the background for as long as it is held, so the runtime must
/// not be blocked for longer than the lease; heavy work has threads of its own.
///
/// Dropping it unsettled hands the item back with this start counted, because a panic may have
/// dropped it.
pub struct Lease {
    entry: Entry,
    hold: Hold,
    token: Token,
    before: Option<String>,
}

impl Lease {
    /// The item's id.
    pub fn id(&self) -> &ItemId {
        &self.entry.item.id
    }

    /// What accompanies the item.
    pub fn headers(&self) -> &Headers {
        &self.entry.item.headers
    }

    /// What to do.
    pub fn payload(&self) -> &[u8] {
        &self.entry.item.payload
    }

    /// Which start of the item this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.token.start
    }

    /// Trace context of the item's start before this one, if both were started
    /// [in one](Delivery::start_in).
    pub fn trace_before(&self) -> Option<&str> {
        self.before.as_deref()
    }

    /// Cancelled when the lease was lost: another has the item, it was cancelled, or the consumer
    /// was shut down. Working on would be in vain.
    pub fn lost(&self) -> &CancellationToken {
        &self.hold.lost
    }

    /// Settles the item with its result.
    ///
    /// # Errors
    /// [`Error::TooLarge`] fails the item too, since every attempt would end so. When Redis stays
    /// away it is unknown whether the result counts; if not, the item runs again.
    pub async fn commit(self, payload: Vec<u8>) -> Result<Settlement, Error> {
        if let Err(error) = self.hold.hands.options.check_payload("a result", &payload) {
            self.fail(&error.to_string()).await?;
            return Err(error);
        }
        let (store, item) = (&self.hold.hands.store, &self.entry.item);
        let standing = store.commit(self.claim(), &item.id, &item.headers, &payload).await?;
        self.settled(standing)
    }

    /// Records why this start failed. The item is tried again after a rest, by whoever comes first,
    /// until its starts are used up; then it is a dead letter. When only the answer was lost it
    /// counts, but reads [`Settlement::Fenced`] or [`Settlement::Gone`].
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn fail(self, reason: &str) -> Result<Settlement, Error> {
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON_BYTES)];
        let standing = self.hold.hands.store.fail(self.claim(), reason).await?;
        self.settled(standing)
    }

    /// Hands the item over as if it had not been started: for shutting down. When only the answer
    /// was lost it counts, but reads [`Settlement::Fenced`].
    ///
    /// # Errors
    /// When Redis stays away; then it is handed over when the lease expires.
    pub async fn release(self) -> Result<Settlement, Error> {
        self.hand_over(false).await
    }

    /// Hands the item over as if it had not been started, for when a lease has passed: for work that cannot be
    /// done now, so that what lies behind it has its turn first. Answers as [`release`](Self::release) does.
    ///
    /// # Errors
    /// As [`release`](Self::release).
    pub async fn put_off(self) -> Result<Settlement, Error> {
        self.hand_over(true).await
    }

    async fn hand_over(self, rests: bool) -> Result<Settlement, Error> {
        let hands = &self.hold.hands;
        let held = InHand { entry: self.entry.position, token: Some(self.token) };
        let given = [Handback { held, returns_start: true, rests }];
        let standings = hands.store.release(&hands.consumer, &given).await?;
        self.settled(standings.first().copied().unwrap_or(Standing::Gone))
    }

    /// Tells the consumer of results how far this is. False when it was not recorded: the lease was
    /// lost, or results are read too slowly.
    ///
    /// # Errors
    /// When the payload is too large or Redis stays away.
    pub async fn progress(&self, payload: &[u8]) -> Result<bool, Error> {
        let (hands, item) = (&self.hold.hands, &self.entry.item);
        hands.options.check_payload("a progress message", payload)?;
        hands.store.progress(self.claim(), &item.id, &item.headers, payload).await
    }

    fn claim(&self) -> Claim<'_> {
        let consumer = &self.hold.hands.consumer;
        Claim { consumer, entry: self.entry.position, token: self.token }
    }

    fn settled(self, standing: Standing) -> Result<Settlement, Error> {
        self.hold.settle();
        Ok(standing.into())
    }
}
