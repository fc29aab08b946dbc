//! Win rate controlled for length as AlpacaEval 2 does it (Dubois et al. 2024, arXiv 2404.04475).

use crate::length_correction::{at_intercept, means};
use crate::{LengthCorrected, SizedPreference, logistic_regression};

/// `logit p = theta + phi tanh(d / s)`, read where the length difference `d` is 0; `s` is the sample
/// standard deviation of `d`.
///
/// Each preference comes with its cluster, such as the prompt. Those of one cluster are not independent, so they
/// count as one, also in `s`: by their mean preference and their mean difference.
///
/// The method's third term, an instruction's difficulty for every model of a leaderboard, is left out:
/// two arms alone say nothing of it. The reading is then the same for every instruction, so no mean is
/// taken over them. None for fewer than three clusters, or where all differences are one and the
/// same length: then nothing tells the effect of length from that of the response.
pub fn length_controlled_win_rate(
    preferences: impl IntoIterator<Item = (usize, SizedPreference)>,
) -> Option<LengthCorrected> {
    let difference = |sized: &SizedPreference| sized.first_length - sized.second_length;
    let preferences = preferences.into_iter();
    let clusters = means(preferences.map(|(cluster, p)| (cluster, p.preference, difference(&p))));
    let differences: Vec<f64> = clusters.iter().map(|(.., difference)| *difference).collect();
    let spread = sample_deviation(&differences)?;
    // The spread of equal means may be rounding.
    let is_constant = differences.iter().all(|difference| *difference == differences[0]);
    if is_constant && differences[0] != 0.0 {
        return None;
    }
    let term = |difference: f64| if is_constant { 0.0 } else { (difference / spread).tanh() };
    let observations: Vec<(usize, f64, f64)> =
        clusters.into_iter().map(|(cluster, p, d)| (cluster, p, term(d))).collect();
    logistic_regression(&observations).map(|fit| at_intercept(&fit))
}

fn sample_deviation(values: &[f64]) -> Option<f64> {
    let degrees = values.len().checked_sub(1).filter(|degrees| *degrees > 0)? as f64;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / degrees).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(preference: f64, first_length: f64, second_length: f64) -> SizedPreference {
        SizedPreference { preference, first_length, second_length }
    }

    /// Each of a cluster of its own.
    fn controlled(preferences: &[SizedPreference]) -> Option<LengthCorrected> {
        length_controlled_win_rate(preferences.iter().copied().enumerate())
    }

    #[test]
    fn without_differences_in_length_the_win_rate_stays() {
        let found = controlled(&[preference(0.75, 100.0, 100.0); 40]).unwrap();
        // The ridge of the fit moves it by less than a thousandth.
        assert!((found.win_rate - 0.75).abs() < 1e-3, "{found:?}");
        assert_eq!(found.slope, 0.0);
    }

    #[test]
    fn wins_that_come_of_length_alone_are_controlled_away() {
        // d = -100, -70 .. 470 around a mean of 185, so most responses are longer.
        let differences: Vec<f64> = (0..20).map(|i| 30.0 * f64::from(i) - 100.0).collect();
        let spread = sample_deviation(&differences).unwrap();
        let made: Vec<SizedPreference> = (0..2000)
            .map(|i| {
                let difference = differences[i % 20];
                let p = 1.0 / (1.0 + (-1.5 * (difference / spread).tanh()).exp());
                preference(p, 500.0 + difference, 500.0)
            })
            .collect();
        let raw = made.iter().map(|p| p.preference).sum::<f64>() / made.len() as f64;
        let found = controlled(&made).unwrap();
        // 2,000 observations are 100 copies of twenty, whose spread differs by 2.5 % for the sample's
        // divisor; the fit's slope takes that up.
        assert!(raw > 0.6 && (found.win_rate - 0.5).abs() < 5e-3, "{raw} {found:?}");
        assert!((found.slope - 1.5).abs() < 0.05, "{found:?}");
    }

    #[test]
    fn copies_within_a_cluster_add_no_certainty() {
        let one = |i: usize| preference([0.2, 0.9, 0.6][i % 3], 80.0 + 7.0 * i as f64, 100.0);
        let once = length_controlled_win_rate((0..12).map(|i| (i, one(i)))).unwrap();
        let often = length_controlled_win_rate((0..120).map(|i| (i % 12, one(i % 12)))).unwrap();
        // Ten times the same number and a tenth of it may round once.
        assert!((often.win_rate - once.win_rate).abs() < 1e-9, "{often:?} {once:?}");
        assert!((often.interval.low - once.interval.low).abs() < 1e-9, "{often:?} {once:?}");
        assert!((often.interval.high - once.interval.high).abs() < 1e-9, "{often:?} {once:?}");
    }

    #[test]
    fn always_the_same_difference_cannot_be_controlled_for() {
        assert_eq!(controlled(&[preference(1.0, 20.0, 10.0); 9]), None);
        assert_eq!(controlled(&[]), None);
        assert_eq!(controlled(&[preference(1.0, 2.0, 1.0); 1]), None);
    }
}
