//! Confidence intervals of shares.

use serde::{Deserialize, Serialize};

/// Standard normal quantile of a two-sided 95 % interval.
pub(crate) const Z95: f64 = 1.959_963_984_540_054;

/// A 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Wilson's score interval (1927) of a share at 95 %: sensible near 0 and 1 and for few trials.
///
/// `successes` may be fractional (a tie counts half). With ties the true variance is smaller than
/// the binomial one, so the interval errs on the wide side. No trials give `[0, 1]`.
pub fn wilson(successes: f64, trials: usize) -> Interval {
    match trials {
        0 => Interval { low: 0.0, high: 1.0 },
        _ => score_interval(successes / trials as f64, trials as f64),
    }
}

/// The same of a share in so many trials, which need not be whole: trials that are not independent are
/// worth fewer.
pub(crate) fn score_interval(share: f64, trials: f64) -> Interval {
    let (p, n, z2) = (share, trials, Z95 * Z95);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Interval { low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_published_values() {
        // Newcombe 1998, table I: 81 of 263, and 0 of 20.
        for (successes, trials, low, high) in [(81.0, 263, 0.2553, 0.3662), (0.0, 20, 0.0, 0.1611)]
        {
            let found = wilson(successes, trials);
            assert!(
                (found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5,
                "{found:?}"
            );
        }
        assert_eq!(wilson(0.0, 0), Interval { low: 0.0, high: 1.0 });
    }
}
