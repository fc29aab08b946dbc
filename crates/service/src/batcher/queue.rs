//! What waits for the engine: let in within bounds, handed out in batches, in the order in which it
//! came. Decisions only; the lock around it is [`Shared`](super::shared::Shared)'s.

use super::{Error, Observer, Options, Skipped};
use opentelemetry::trace::SpanContext;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub(super) struct Queue<Req, Resp> {
    options: Options,
    entries: VecDeque<Entry<Req, Resp>>,
    /// Of the entries.
    tokens: usize,
    tokens_in_hand: usize,
    /// Moving average, for the retry hint; zero until the first batch is done.
    seconds_per_token: f64,
}

/// A request that waits.
pub(super) struct Entry<Req, Resp> {
    pub(super) request: Req,
    pub(super) tokens: usize,
    pub(super) deadline: Option<Instant>,
    pub(super) queued_at: Instant,
    pub(super) caller: Caller<Resp>,
}

/// Who waits for a response.
pub(super) struct Caller<Resp> {
    pub(super) reply: oneshot::Sender<Result<Resp, Error>>,
    pub(super) span: SpanContext,
}

/// What the engine runs next.
pub(super) struct Batch<Req, Resp> {
    pub(super) requests: Vec<Req>,
    pub(super) callers: Vec<Caller<Resp>>,
    pub(super) waits: Vec<Duration>,
    pub(super) tokens: usize,
}

impl<Req, Resp> Queue<Req, Resp> {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            entries: VecDeque::new(),
            tokens: 0,
            tokens_in_hand: 0,
            seconds_per_token: 0.0,
        }
    }

    pub(super) fn items(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    pub(super) fn push(&mut self, entry: Entry<Req, Resp>) {
        self.tokens += entry.tokens;
        self.entries.push_back(entry);
    }

    /// Whether a request of so many tokens may wait now.
    ///
    /// # Errors
    /// When it may never, or not now.
    pub(super) fn admit(&mut self, tokens: usize, observer: &dyn Observer) -> Result<(), Error> {
        let limit = self.options.max_batch_tokens;
        if tokens > limit {
            return Err(Error::TooLarge { tokens, limit });
        }
        if !self.has_room(tokens) {
            self.drop_moot(observer);
        }
        match self.has_room(tokens) {
            true => Ok(()),
            false => Err(Error::Overloaded { retry_after: self.retry_after() }),
        }
    }

    fn has_room(&self, tokens: usize) -> bool {
        self.entries.len() < self.options.max_queued_items
            && self.tokens.saturating_add(tokens) <= self.options.max_queued_tokens
    }

    /// Frees the places of callers that left: nobody is refused for their sake.
    fn drop_moot(&mut self, observer: &dyn Observer) {
        let now = Instant::now();
        for entry in std::mem::take(&mut self.entries) {
            match entry.is_moot(now) {
                None => self.entries.push_back(entry),
                Some(why) => {
                    self.tokens -= entry.tokens;
                    entry.skip(why, observer);
                }
            }
        }
    }

    /// When what waits now is likely to be done; at least long enough that a crowd which was turned
    /// away does not come back at once.
    fn retry_after(&self) -> Duration {
        let tokens = (self.tokens + self.tokens_in_hand) as f64;
        Duration::from_secs_f64((tokens * self.seconds_per_token).clamp(0.1, 30.0))
    }

    /// Takes from the front until the next request does not fit: nobody is overtaken, so nobody
    /// starves. Empty where nobody waits.
    pub(super) fn take(&mut self, observer: &dyn Observer) -> Batch<Req, Resp> {
        let now = Instant::now();
        let mut batch = Batch::default();
        while batch.requests.len() < self.options.max_batch_items
            && let Some(next) = self.entries.front()
        {
            let moot = next.is_moot(now);
            if moot.is_none() && batch.tokens + next.tokens > self.options.max_batch_tokens {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.tokens -= entry.tokens;
            match moot {
                Some(why) => entry.skip(why, observer),
                None => batch.push(entry, now),
            }
        }
        self.tokens_in_hand = batch.tokens;
        batch
    }

    /// The batch in hand was run.
    pub(super) fn finished(&mut self, took: Duration) {
        let tokens = std::mem::take(&mut self.tokens_in_hand);
        let latest = took.as_secs_f64() / tokens.max(1) as f64;
        self.seconds_per_token = match self.seconds_per_token {
            0.0 => latest,
            // About the last ten batches count.
            average => 0.9 * average + 0.1 * latest,
        };
    }

    /// Drops what waits, which tells its callers that the engine has stopped.
    pub(super) fn clear(&mut self) {
        self.tokens = 0;
        self.entries.clear();
    }

    #[cfg(test)]
    pub(super) fn last(&self) -> Option<&Req> {
        self.entries.back().map(|entry| &entry.request)
    }
}

impl<Req, Resp> Entry<Req, Resp> {
    /// Why this entry need not be run, if so.
    fn is_moot(&self, now: Instant) -> Option<Skipped> {
        if self.caller.reply.is_closed() {
            Some(Skipped::CallerLeft)
        } else if self.deadline.is_some_and(|at| at <= now) {
            Some(Skipped::DeadlinePassed)
        } else {
            None
        }
    }

    fn skip(self, why: Skipped, observer: &dyn Observer) {
        observer.skipped(why);
        // The caller may have left meanwhile, which is fine.
        let _ = self.caller.reply.send(Err(Error::DeadlineExceeded));
    }
}

impl<Req, Resp> Default for Batch<Req, Resp> {
    fn default() -> Self {
        Self { requests: Vec::new(), callers: Vec::new(), waits: Vec::new(), tokens: 0 }
    }
}

impl<Req, Resp> Batch<Req, Resp> {
    fn push(&mut self, entry: Entry<Req, Resp>, now: Instant) {
        self.requests.push(entry.request);
        self.callers.push(entry.caller);
        self.waits.push(now.saturating_duration_since(entry.queued_at));
        self.tokens += entry.tokens;
    }
}
