//! How fast the engine works, and so how long what waits will take.

use std::time::Duration;

/// What is left of the best pace beside a new batch: about the last five count.
const MEMORY: f64 = 0.8;

/// The best pace of the last batches, in tokens a second. The best and not the mean: a batch takes some
/// time whatever is in it, so an engine that is given small batches looks slower than it is for larger
/// ones, and would be given small ones for ever. With the best each batch may be somewhat larger than
/// the one before, until they are as large as time allows.
#[derive(Debug, Default)]
pub(super) struct Pace {
    tokens_per_second: f64,
}

impl Pace {
    /// A batch of `tokens` took so long.
    pub(super) fn record(&mut self, tokens: usize, took: Duration) {
        let latest = tokens.max(1) as f64 / took.as_secs_f64().max(1e-6);
        self.tokens_per_second = latest.max(MEMORY * self.tokens_per_second);
    }

    /// How long `tokens` are likely to take; no time before the first batch.
    pub(super) fn estimate(&self, tokens: usize) -> Duration {
        match self.tokens_per_second {
            0.0 => Duration::ZERO,
            // A guess of years is as good as one of a day.
            pace => Duration::from_secs_f64((tokens as f64 / pace).min(86_400.0)),
        }
    }

    /// Work was given up for this estimate. A wrong one would keep itself alive: without work there is
    /// nothing to learn from.
    pub(super) fn doubt(&mut self) {
        self.tokens_per_second /= MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine that takes 120 ms for a batch, and 0.7 ms for each token in it.
    fn run(pace: &mut Pace, tokens: usize) {
        pace.record(tokens, Duration::from_micros(120_000 + 700 * tokens as u64));
    }

    #[test]
    fn batches_grow_from_single_requests_to_what_time_allows() {
        let mut pace = Pace::default();
        assert_eq!(pace.estimate(1000), Duration::ZERO);
        let allowed = Duration::from_millis(600);
        let mut tokens = 50;
        for _ in 0..20 {
            run(&mut pace, tokens);
            tokens = (1..).take_while(|more| pace.estimate(*more) <= allowed).last().unwrap();
        }
        // 120 ms + 0.7 ms x 685 are 600 ms; the last step to it is never quite made.
        assert!((600..=685).contains(&tokens), "{tokens}");
    }

    #[test]
    fn an_engine_that_has_become_slower_is_known_for_it_after_a_few_batches() {
        let mut pace = Pace::default();
        pace.record(1000, Duration::from_secs(1));
        for _ in 0..7 {
            pace.record(250, Duration::from_secs(1));
        }
        assert_eq!(pace.estimate(250), Duration::from_secs(1));
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
