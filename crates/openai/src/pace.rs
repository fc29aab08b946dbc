//! Rates: requests and tokens per minute. What is sent is spaced evenly, without bursts, so no minute
//! holds more than is allowed, wherever the server lets its minutes begin.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const MINUTE: Duration = Duration::from_secs(60);

/// The rates of an endpoint.
#[derive(Debug)]
pub(crate) struct Pace {
    requests: Option<Spacing>,
    tokens: Option<Spacing>,
}

impl Pace {
    /// Both per minute; neither may be 0.
    pub(crate) fn new(requests: Option<u32>, tokens: Option<u32>) -> Self {
        Self { requests: requests.map(Spacing::new), tokens: tokens.map(Spacing::new) }
    }

    /// Waits for the turn of a request of about this many tokens. A caller that leaves has used its
    /// turn up, which errs on the slow side.
    pub(crate) async fn turn(&self, tokens: u64) {
        let requests = self.requests.as_ref().map(|spacing| spacing.take(1));
        let tokens = self.tokens.as_ref().map(|spacing| spacing.take(tokens));
        if let Some(turn) = requests.max(tokens) {
            sleep_until(turn).await;
        }
    }

    /// Corrects an estimate by what was used.
    pub(crate) fn correct(&self, estimated: u64, used: u64) {
        if let Some(spacing) = &self.tokens {
            spacing.correct(estimated, used);
        }
    }
}

/// Turns, each as long as what it is for costs.
#[derive(Debug)]
struct Spacing {
    per_minute: u32,
    next: Mutex<Instant>,
}

impl Spacing {
    fn new(per_minute: u32) -> Self {
        Self { per_minute, next: Mutex::new(Instant::now()) }
    }

    /// When `amount` may be used.
    fn take(&self, amount: u64) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn + self.cost(amount);
        turn
    }

    fn correct(&self, estimated: u64, used: u64) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += self.cost(used.saturating_sub(estimated));
        // An instant before now is as good as now.
        *next = next.checked_sub(self.cost(estimated.saturating_sub(used))).unwrap_or(*next);
    }

    /// At most a day, whatever a server claims to have used.
    fn cost(&self, amount: u64) -> Duration {
        let minutes = amount as f64 / f64::from(self.per_minute);
        MINUTE.mul_f64(minutes.min(24.0 * 60.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long `turns` took.
    async fn elapsed(turns: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        turns.await;
        began.elapsed()
    }

    // Tokio's clock steps in milliseconds and may wake a sleeper one late.
    fn assert_about(took: Duration, seconds: u64) {
        let off = took.abs_diff(Duration::from_secs(seconds));
        assert!(off <= Duration::from_millis(5), "{took:?} instead of {seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_evenly() {
        let pace = Pace::new(Some(30), None);
        let took = elapsed(async {
            for _ in 0..4 {
                pace.turn(1_000_000).await;
            }
        });
        assert_about(took.await, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_many_tokens_delays_the_next_and_what_it_did_not_use_is_given_back() {
        let pace = Pace::new(None, Some(6_000));
        pace.turn(1_000).await;
        assert_about(elapsed(pace.turn(1_000)).await, 10);
        pace.correct(1_000, 400);
        assert_about(elapsed(pace.turn(100)).await, 4);
        pace.correct(100, 300);
        assert_about(elapsed(pace.turn(0)).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_time_saves_nothing_up() {
        let pace = Pace::new(Some(60), None);
        tokio::time::sleep(Duration::from_secs(600)).await;
        let took = elapsed(async {
            for _ in 0..3 {
                pace.turn(0).await;
            }
        });
        assert_about(took.await, 2);
    }
}
