//! How fast the engine works, and so how long what waits will take.

use std::time::Duration;

/// What is left of older batches beside a new one: about the last ten count.
const MEMORY: f64 = 0.9;

/// Tokens and seconds of past batches, the older ones faded. Batches count by their size: most of a
/// small one's time is not its tokens', and says little about a large one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    tokens: f64,
    seconds: f64,
}

impl Pace {
    /// A batch of `tokens` took so long.
    pub(super) fn record(&mut self, tokens: usize, took: Duration) {
        self.tokens = MEMORY * self.tokens + tokens.max(1) as f64;
        self.seconds = MEMORY * self.seconds + took.as_secs_f64();
    }

    /// How long `tokens` are likely to take; no time before the first batch.
    pub(super) fn estimate(&self, tokens: usize) -> Duration {
        let seconds_per_token = self.seconds / self.tokens.max(1.0);
        // A guess of years is as good as one of a day.
        Duration::from_secs_f64((tokens as f64 * seconds_per_token).min(86_400.0))
    }

    /// Work was given up for this estimate. A wrong one would keep itself alive: without work there is
    /// nothing to learn from.
    pub(super) fn doubt(&mut self) {
        self.seconds *= MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_large_batch_outweighs_many_small_ones() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(1000), Duration::ZERO);
        for _ in 0..50 {
            pace.record(1, Duration::from_millis(20));
        }
        let small = pace.estimate(1000);
        assert!(small > Duration::from_secs(15), "{small:?}");
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
