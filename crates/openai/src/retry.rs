//! How long to wait before another attempt: what the server asks for, and a random share of a bound
//! that doubles, so that callers who failed together do not come back together.

use std::time::{Duration, SystemTime};

/// A pause before the attempt after `attempts` failed ones. `share` in `[0, 1)` is drawn by the
/// caller: full jitter, as in AWS's "Exponential Backoff And Jitter".
pub(crate) fn backoff(attempts: u32, first: Duration, max: Duration, share: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    first.saturating_mul(1 << doublings).min(max).mul_f64(share)
}

/// The wait that a `Retry-After` header asks for: seconds, whole or not, or a date (RFC 9110,
/// 10.2.3). What is neither asks for nothing.
pub(crate) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_are_drawn_below_a_bound_that_doubles_up_to_the_longest() {
        let bounds: Vec<u128> =
            (1..=8).map(|attempts| backoff(attempts, FIRST, MAX, 1.0).as_millis()).collect();
        assert_eq!(bounds, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(backoff(3, FIRST, MAX, 0.25), FIRST);
        assert_eq!(backoff(3, FIRST, MAX, 0.0), Duration::ZERO);
        assert_eq!(backoff(u32::MAX, FIRST, MAX, 1.0), MAX);
    }

    #[test]
    fn a_wait_is_asked_for_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let wait = |header| retry_after(header, now);
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0.25 "), Some(Duration::from_millis(250)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        // In the past: at once.
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO));
        for nothing in ["", "soon", "-3", "NaN", "inf"] {
            assert_eq!(wait(nothing), None, "{nothing}");
        }
    }
}
