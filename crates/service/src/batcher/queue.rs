//! What waits for the engine: let in within bounds, handed out in batches, in the order in which it
//! came. Decisions only; the lock around it is [`Shared`](super::shared::Shared)'s.
//!
//! Under overload the engine must not work for callers whose deadlines pass meanwhile, so nobody is
//! let in behind more than can be done in time, and a batch grows only as far as those in it can wait
//! for its end. Both ask how fast the engine is, and leave a margin of time.

use super::pace::Pace;
use super::{Error, Observer, Options, Skipped};
use opentelemetry::trace::SpanContext;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Time reckoned for what is before a request, as a multiple of what it is likely to take: who is let in
/// should be far from late when its batch begins.
const WAIT_MARGIN: f64 = 2.0;

/// The same for a batch: one that ends late is lost whole, and engines share their processors.
const BATCH_MARGIN: f64 = 1.5;

pub(super) struct Queue<Req, Resp> {
    options: Options,
    entries: VecDeque<Entry<Req, Resp>>,
    /// Of the entries.
    tokens: usize,
    in_hand: Option<InHand>,
    pace: Pace,
}

/// The batch that runs.
struct InHand {
    tokens: usize,
    since: Instant,
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
    first_deadline: Option<Instant>,
}

impl<Req, Resp> Queue<Req, Resp> {
    pub(super) fn new(options: Options) -> Self {
        Self { options, entries: VecDeque::new(), tokens: 0, in_hand: None, pace: Pace::default() }
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
    pub(super) fn admit(
        &self,
        tokens: usize,
        deadline: Option<Instant>,
        now: Instant,
    ) -> Result<(), Error> {
        let limit = self.options.max_batch_tokens;
        if tokens > limit {
            return Err(Error::TooLarge { tokens, limit });
        }
        if deadline.is_some_and(|at| at <= now) {
            return Err(Error::DeadlineExceeded);
        }
        match self.has_room(tokens) && self.is_in_time(tokens, deadline, now) {
            true => Ok(()),
            false => Err(Error::Overloaded { retry_after: self.retry_after(now) }),
        }
    }

    fn has_room(&self, tokens: usize) -> bool {
        self.entries.len() < self.options.max_queued_items
            && self.tokens.saturating_add(tokens) <= self.options.max_queued_tokens
    }

    /// Whether what is before a request is likely to be done by then. How large the request is itself
    /// does not count, as long as it could be done at all: under overload there would never be room for
    /// a large one. With nothing before it, trying is how the pace becomes known.
    fn is_in_time(&self, tokens: usize, deadline: Option<Instant>, now: Instant) -> bool {
        let Some(deadline) = deadline else { return true };
        let idle = self.entries.is_empty() && self.in_hand.is_none();
        let time = self.backlog(now).mul_f64(WAIT_MARGIN).max(self.pace.estimate(tokens));
        idle || now + time <= deadline
    }

    /// How long what waits and what runs is likely to take.
    fn backlog(&self, now: Instant) -> Duration {
        let running = self.in_hand.as_ref().map_or(Duration::ZERO, |batch| {
            let elapsed = now.saturating_duration_since(batch.since);
            self.pace.estimate(batch.tokens).saturating_sub(elapsed)
        });
        running + self.pace.estimate(self.tokens)
    }

    /// Frees the places of callers that left: nobody is refused for their sake.
    pub(super) fn drop_callers_that_left(&mut self, observer: &dyn Observer) {
        let tokens = &mut self.tokens;
        self.entries.retain(|entry| {
            let left = entry.caller.reply.is_closed();
            if left {
                *tokens -= entry.tokens;
                observer.skipped(Skipped::CallerLeft);
            }
            !left
        });
    }

    /// When what waits now is likely to be done; at least long enough that a crowd which was turned
    /// away does not come back at once.
    fn retry_after(&self, now: Instant) -> Duration {
        self.backlog(now).clamp(Duration::from_millis(100), Duration::from_secs(30))
    }

    /// Takes from the front until the next request does not fit: nobody is overtaken, so nobody
    /// starves. Empty where nobody waits.
    pub(super) fn take(&mut self, now: Instant, observer: &dyn Observer) -> Batch<Req, Resp> {
        let (mut batch, mut too_late) = (Batch::default(), false);
        while batch.requests.len() < self.options.max_batch_items
            && let Some(next) = self.entries.front()
        {
            let moot = next.is_moot(now, self.pace.estimate(next.tokens));
            if moot.is_none() && !self.has_place(&batch, next, now) {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.tokens -= entry.tokens;
            match moot {
                Some(why) => entry.skip(why, self.retry_after(now), observer),
                None => batch.push(entry, now),
            }
            too_late |= moot == Some(Skipped::TooLate);
        }
        if !batch.requests.is_empty() {
            self.in_hand = Some(InHand { tokens: batch.tokens, since: now });
        } else if too_late {
            self.pace.doubt();
        }
        batch
    }

    /// Whether the batch may grow by `next`: within its budget, and so that it is likely to end before
    /// the first deadline in it.
    fn has_place(&self, batch: &Batch<Req, Resp>, next: &Entry<Req, Resp>, now: Instant) -> bool {
        let tokens = batch.tokens + next.tokens;
        let first = [batch.first_deadline, next.deadline].into_iter().flatten().min();
        let time = self.pace.estimate(tokens).mul_f64(BATCH_MARGIN);
        let in_time = first.is_none_or(|at| now + time <= at);
        batch.requests.is_empty() || (tokens <= self.options.max_batch_tokens && in_time)
    }

    /// The batch in hand was run.
    pub(super) fn finished(&mut self, took: Duration) {
        if let Some(batch) = self.in_hand.take() {
            self.pace.record(batch.tokens, took);
        }
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
    /// Why this entry need not be run, if so, where it is likely to take `time`.
    fn is_moot(&self, now: Instant, time: Duration) -> Option<Skipped> {
        if self.caller.reply.is_closed() {
            return Some(Skipped::CallerLeft);
        }
        match self.deadline {
            Some(at) if at <= now => Some(Skipped::DeadlinePassed),
            Some(at) if at < now + time => Some(Skipped::TooLate),
            _ => None,
        }
    }

    fn skip(self, why: Skipped, retry_after: Duration, observer: &dyn Observer) {
        observer.skipped(why);
        let answer = match why {
            Skipped::TooLate => Error::Overloaded { retry_after },
            Skipped::CallerLeft | Skipped::DeadlinePassed => Error::DeadlineExceeded,
        };
        // The caller may have left meanwhile, which is fine.
        let _ = self.caller.reply.send(Err(answer));
    }
}

impl<Req, Resp> Default for Batch<Req, Resp> {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            callers: Vec::new(),
            waits: Vec::new(),
            tokens: 0,
            first_deadline: None,
        }
    }
}

impl<Req, Resp> Batch<Req, Resp> {
    fn push(&mut self, entry: Entry<Req, Resp>, now: Instant) {
        self.requests.push(entry.request);
        self.callers.push(entry.caller);
        self.waits.push(now.saturating_duration_since(entry.queued_at));
        self.tokens += entry.tokens;
        self.first_deadline = [self.first_deadline, entry.deadline].into_iter().flatten().min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    type Answer = oneshot::Receiver<Result<(), Error>>;

    /// A queue whose engine takes a second for each token.
    fn slow() -> Queue<u32, ()> {
        let mut queue = Queue::new(Options {
            max_batch_tokens: 100,
            max_batch_items: 100,
            max_queued_items: 100,
            max_queued_tokens: 1000,
        });
        queue.pace.record(10, Duration::from_secs(10));
        queue
    }

    fn within(seconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(seconds))
    }

    fn push(
        queue: &mut Queue<u32, ()>,
        request: u32,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Answer {
        let (reply, answer) = oneshot::channel();
        let caller = Caller { reply, span: SpanContext::NONE };
        queue.push(Entry { request, tokens, deadline, queued_at: Instant::now(), caller });
        answer
    }

    // Times are far apart in seconds, so that a slow machine changes nothing.

    #[test]
    fn nobody_is_let_in_behind_more_than_can_be_done_in_time() {
        let mut queue = slow();
        // Nothing is before it: trying costs nobody anything.
        assert_eq!(queue.admit(50, within(1), Instant::now()), Ok(()));
        let _first = push(&mut queue, 1, 10, None);
        // Twice 10 seconds before it, whatever its size, if it could be done at all.
        assert_eq!(queue.admit(30, within(40), Instant::now()), Ok(()));
        assert!(queue.admit(50, within(40), Instant::now()).is_err());
        let refused = queue.admit(1, within(15), Instant::now()).unwrap_err();
        let Error::Overloaded { retry_after } = refused else { panic!("{refused:?}") };
        assert!(retry_after.as_secs_f64() > 9.0, "{retry_after:?}");
        assert_eq!(queue.admit(10, None, Instant::now()), Ok(()));
        // What runs counts as what waits does.
        assert_eq!(queue.take(Instant::now(), &()).requests, [1]);
        assert!(queue.admit(10, within(15), Instant::now()).is_err());
        queue.finished(Duration::from_secs(10));
        assert_eq!(queue.admit(10, within(15), Instant::now()), Ok(()));
    }

    #[test]
    fn a_batch_grows_only_as_far_as_those_in_it_can_wait() {
        let mut queue = slow();
        let _answers: Vec<_> =
            [within(40), None, None, None].map(|at| push(&mut queue, 1, 10, at)).into();
        // One and a half times 20 seconds are over before 40, with 30 they are not.
        assert_eq!(queue.take(Instant::now(), &()).tokens, 20);
        assert_eq!(queue.take(Instant::now(), &()).tokens, 20);
    }

    #[test]
    fn who_cannot_be_served_in_time_is_told_and_holds_nobody_up() {
        let mut queue = slow();
        let mut late = push(&mut queue, 1, 10, within(5));
        let _served = push(&mut queue, 2, 10, within(500));
        assert_eq!(queue.take(Instant::now(), &()).requests, [2]);
        let told = late.try_recv().unwrap();
        assert!(matches!(told, Err(Error::Overloaded { .. })), "{told:?}");
    }

    #[test]
    fn an_estimate_that_refuses_everybody_does_not_last() {
        let mut queue = slow();
        // As after a first batch that waited for its model to load.
        let refused = (1..).take_while(|n| {
            let _answer = push(&mut queue, *n, 10, within(5));
            queue.take(Instant::now(), &()).requests.is_empty()
        });
        // 0.8^4 of ten seconds are less than five.
        assert_eq!(refused.count(), 4);
    }

    /// What is left of an engine's best goodput where so many times as much is asked for, in a world
    /// whose clock is the test's. The engine takes 120 ms for a batch and 0.7 ms for each token in it.
    fn goodput_left(load: f64, patience: Duration) -> f64 {
        const SECONDS: f64 = 60.0;
        let time = |tokens: usize| Duration::from_secs_f64(0.12 + 0.0007 * tokens as f64);
        let best = 32.0 / time(32 * 48).as_secs_f64();
        let mut queue: Queue<Instant, ()> = Queue::new(Options {
            max_batch_tokens: 16_384,
            max_batch_items: 64,
            max_queued_items: 1024,
            max_queued_tokens: 1 << 20,
        });
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let start = Instant::now();
        let (mut next, mut served) = (start, 0);
        let mut in_hand: Option<(Instant, Vec<Instant>)> = None;
        let mut answers = Vec::new();
        while next < start + Duration::from_secs_f64(SECONDS) {
            let now = match in_hand.take_if(|(end, _)| *end <= next) {
                Some((end, deadlines)) => {
                    served += deadlines.iter().filter(|at| **at >= end).count();
                    let tokens = queue.in_hand.as_ref().unwrap().tokens;
                    queue.finished(time(tokens));
                    end
                }
                None => {
                    let now = next;
                    let pause = -random.random_range(f64::EPSILON..1.0).ln() / (load * best);
                    next += Duration::from_secs_f64(pause);
                    let (tokens, deadline) = (random.random_range(10..=86), now + patience);
                    if queue.admit(tokens, Some(deadline), now).is_ok() {
                        let (reply, answer) = oneshot::channel();
                        answers.push(answer);
                        let caller = Caller { reply, span: SpanContext::NONE };
                        let (request, deadline) = (deadline, Some(deadline));
                        queue.push(Entry { request, tokens, deadline, queued_at: now, caller });
                    }
                    now
                }
            };
            if in_hand.is_none() {
                let Batch { requests, tokens, .. } = queue.take(now, &());
                in_hand = (!requests.is_empty()).then(|| (now + time(tokens), requests));
            }
        }
        f64::from(u32::try_from(served).unwrap()) / SECONDS / best
    }

    #[test]
    fn at_ten_times_the_load_most_of_the_best_goodput_is_left() {
        // Twenty times what a batch takes by itself.
        let patience = Duration::from_millis(2400);
        let left = goodput_left(10.0, patience);
        assert!(left >= 0.8, "{left}");
        // And nobody is refused at half of it.
        let left = goodput_left(0.5, patience);
        assert!((0.45..0.55).contains(&left), "{left}");
    }
}
