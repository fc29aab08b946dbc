//! Win rate corrected for length (paper section 6).

use crate::{Interval, Logistic, logistic_regression};
use serde::{Deserialize, Serialize};

/// Win rate read from a fit where both responses are equally long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthCorrected {
    /// Where the term for length vanishes.
    pub win_rate: f64,
    /// Its 95 % interval, by the delta method.
    pub interval: Interval,
    /// Change of the log-odds of winning per unit of that term: of the length ratio here, of the scaled
    /// difference in [`crate::length_controlled_win_rate`].
    pub slope: f64,
}

/// Logistic regression of "A preferred" on `len(A) / len(B)`, read at ratio 1.0.
///
/// `outcomes` are (A preferred in `[0, 1]`, ratio). None for fewer than three.
pub fn length_corrected_win_rate(outcomes: &[(f64, f64)]) -> Option<LengthCorrected> {
    // With x = ratio - 1 the intercept is the log-odds at ratio 1.
    let centred: Vec<(f64, f64)> =
        outcomes.iter().map(|(won, ratio)| (*won, ratio - 1.0)).collect();
    logistic_regression(&centred).map(|fit| at_intercept(&fit))
}

/// The win rate that a fit has where its variable is 0.
pub(crate) fn at_intercept(fit: &Logistic) -> LengthCorrected {
    let at = |log_odds: f64| 1.0 / (1.0 + (-log_odds).exp());
    let ends = fit.intercept_interval;
    let interval = Interval { low: at(ends.low), high: at(ends.high) };
    LengthCorrected { win_rate: at(fit.intercept), interval, slope: fit.slope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_effect_of_length_the_win_rate_stays() {
        let outcomes: Vec<(f64, f64)> =
            (0..200).map(|i| (f64::from(u8::from(i % 4 != 0)), [0.5, 1.5][i / 4 % 2])).collect();
        let found = length_corrected_win_rate(&outcomes).unwrap();
        assert!((found.win_rate - 0.75).abs() < 1e-3, "{found:?}");
        assert!(
            found.slope.abs() < 1e-2 && found.interval.low > 0.68 && found.interval.high < 0.82
        );
    }

    #[test]
    fn wins_that_only_longer_responses_have_are_corrected_away() {
        // Always longer; wins follow length: 50 % at ratio 1, more above.
        let outcomes: Vec<(f64, f64)> = (0..4000)
            .map(|i| {
                let ratio = 1.0 + f64::from(i % 20) / 10.0;
                let p = 1.0 / (1.0 + (-2.0 * (ratio - 1.0)).exp());
                (p, ratio)
            })
            .collect();
        let raw = outcomes.iter().map(|(won, _)| won).sum::<f64>() / outcomes.len() as f64;
        let found = length_corrected_win_rate(&outcomes).unwrap();
        assert!(raw > 0.8 && (found.win_rate - 0.5).abs() < 1e-3, "{raw} {found:?}");
        assert!((found.slope - 2.0).abs() < 1e-2);
    }

    #[test]
    fn complete_separation_stays_finite() {
        let found = length_corrected_win_rate(&[(1.0, 2.0), (1.0, 2.5), (0.0, 0.5), (0.0, 0.4)]);
        assert!(found.unwrap().win_rate.is_finite());
        assert!(length_corrected_win_rate(&[(1.0, 1.0)]).is_none());
    }
}
