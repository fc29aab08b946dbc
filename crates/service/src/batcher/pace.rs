//! How fast the engine works, and so how long what waits will take.

use std::time::Duration;

/// What is left of older batches beside a new one: about the last ten count.
const MEMORY: f64 = 0.9;

/// A token is taken to cost at least this part of what it costs with all else of a batch on it, so
/// that a line drawn through noise never promises large batches for nothing.
const LEAST_SLOPE: f64 = 0.125;

/// Sums over past batches, the older ones faded, through which a line is drawn: a batch takes some
/// time whatever is in it, and some for each token. Without the first part an engine that was given
/// small batches would look too slow for larger ones and be given small ones for ever.
#[derive(Debug, Default)]
pub(super) struct Pace {
    batches: f64,
    tokens: f64,
    seconds: f64,
    tokens_squared: f64,
    tokens_seconds: f64,
}

impl Pace {
    /// A batch of `tokens` took so long.
    pub(super) fn record(&mut self, tokens: usize, took: Duration) {
        let (tokens, seconds) = (tokens.max(1) as f64, took.as_secs_f64());
        for (sum, value) in [
            (&mut self.batches, 1.0),
            (&mut self.tokens, tokens),
            (&mut self.seconds, seconds),
            (&mut self.tokens_squared, tokens * tokens),
            (&mut self.tokens_seconds, tokens * seconds),
        ] {
            *sum = MEMORY * *sum + value;
        }
    }

    /// How long a batch of `tokens` is likely to take; no time before the first batch.
    pub(super) fn estimate(&self, tokens: usize) -> Duration {
        if self.batches == 0.0 {
            return Duration::ZERO;
        }
        let (mean_tokens, mean_seconds) = (self.tokens / self.batches, self.seconds / self.batches);
        let spread = self.tokens_squared / self.batches - mean_tokens * mean_tokens;
        let together = self.tokens_seconds / self.batches - mean_tokens * mean_seconds;
        let steepest = mean_seconds / mean_tokens;
        // Batches of one size say nothing about others.
        let known = spread > 0.01 * mean_tokens * mean_tokens;
        let slope = if known { together / spread } else { steepest };
        let slope = slope.clamp(LEAST_SLOPE * steepest, steepest);
        let seconds = mean_seconds + slope * (tokens as f64 - mean_tokens);
        // A guess of years is as good as one of a day.
        Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))
    }

    /// Work was given up for this estimate. A wrong one would keep itself alive: without work there is
    /// nothing to learn from.
    pub(super) fn doubt(&mut self) {
        self.seconds *= MEMORY;
        self.tokens_seconds *= MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_costs_by_itself_is_told_from_what_its_tokens_cost() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(1000), Duration::ZERO);
        // Single requests of several sizes: half a second each, and a millisecond a token.
        for tokens in [10, 80, 30, 60, 20, 50] {
            pace.record(tokens, Duration::from_millis(500 + tokens as u64));
        }
        let large = pace.estimate(1000).as_secs_f64();
        // 1.5 on the line; the least slope is 1.6 ms a token here.
        assert!((1.5..2.2).contains(&large), "{large}");
    }

    #[test]
    fn batches_of_one_size_promise_nothing_to_larger_ones_until_there_was_one() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.record(1, Duration::from_millis(20));
        }
        let large = pace.estimate(1000);
        assert!(large > Duration::from_secs(15), "{large:?}");
        pace.record(1000, Duration::from_millis(500));
        let large = pace.estimate(1000);
        assert!(large < Duration::from_secs(1), "{large:?}");
    }

    #[test]
    fn a_doubted_estimate_comes_down() {
        let mut pace = Pace::default();
        pace.record(10, Duration::from_secs(60));
        for _ in 0..100 {
            pace.doubt();
        }
        assert!(pace.estimate(10) < Duration::from_secs(1));
    }
}
