//! How fast a stage goes, and when it will be done at that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Advances that count: enough to even out workers that finish together, few enough to notice soon
/// when workers come or go.
const WINDOW: usize = 32;

/// The latest advances of one stage.
#[derive(Debug, Default)]
pub struct Pace {
    /// When, and how much was done then.
    seen: VecDeque<(Instant, usize)>,
    total: usize,
}

impl Pace {
    /// Notes that `done` of `total` is done. The first advance only starts the clock: how long it
    /// took is not known, for the stage may have waited for others.
    pub fn advance(&mut self, now: Instant, done: usize, total: usize) {
        let last = self.seen.back().map(|(_, done)| *done);
        // Counted in other units, or begun anew by another worker.
        if total != self.total || last.is_some_and(|last| done < last) {
            self.seen.clear();
            self.total = total;
        }
        if last != Some(done) || self.seen.is_empty() {
            self.seen.push_back((now, done));
        }
        if self.seen.len() > WINDOW {
            self.seen.pop_front();
        }
    }

    /// Time to the end; none before the second advance, and none at the end. A stage that stands
    /// still is further from its end the longer it does.
    pub fn eta(&self, now: Instant) -> Option<Duration> {
        let ((began, first), (_, last)) = (self.seen.front()?, self.seen.back()?);
        let (gained, left) = (last - first, self.total.saturating_sub(*last));
        if gained == 0 || left == 0 {
            return None;
        }
        Some(now.saturating_duration_since(*began).mul_f64(left as f64 / gained as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_end_is_where_the_latest_pace_leads() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.advance(start, 10, 100);
        assert_eq!(pace.eta(after(start, 9)), None, "one advance is no pace");
        pace.advance(after(start, 10), 20, 100);
        assert_eq!(pace.eta(after(start, 10)), Some(Duration::from_secs(80)));
        // Ten seconds without an advance: half the pace.
        assert_eq!(pace.eta(after(start, 20)), Some(Duration::from_secs(160)));
        pace.advance(after(start, 20), 100, 100);
        assert_eq!(pace.eta(after(start, 21)), None, "it is done");
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.advance(start, 1, 1000);
        for n in 0..WINDOW as u64 {
            pace.advance(after(start, 5000 + n), 100 + n as usize, 1000);
        }
        let left = 1000 - (100 + WINDOW as u64 - 1);
        let now = after(start, 5000 + WINDOW as u64 - 1);
        assert_eq!(pace.eta(now), Some(Duration::from_secs(left)));
    }

    #[test]
    fn other_units_begin_anew() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.advance(start, 1, 20);
        pace.advance(after(start, 1), 10, 20);
        // Steps while a worker trains; as a task it is one.
        pace.advance(after(start, 2), 0, 1);
        assert_eq!(pace.eta(after(start, 3)), None);
    }
}
