//! Win rate corrected for length (paper section 6).
//!
//! The paper regresses on the ratio of lengths, of which 2 is further from 1 than one half is: which arm is called A
//! then changes the answer. Its logarithm is 0 where both are equally long, too, and only changes its sign when the
//! arms are exchanged, so a pair of arms has one corrected win rate. Ours is by the logarithm; the paper's own stands
//! beside it.

use crate::{Interval, Logistic, logistic_regression};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A preference and how long both responses are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizedPreference {
    /// Probability that the first is better, or who won, in `[0, 1]`.
    pub preference: f64,
    /// Length of the first, in any unit.
    pub first_length: f64,
    /// Length of the second, in the same.
    pub second_length: f64,
}

impl SizedPreference {
    /// The same, seen from the second.
    #[must_use]
    pub fn exchanged(self) -> Self {
        Self {
            preference: 1.0 - self.preference,
            first_length: self.second_length,
            second_length: self.first_length,
        }
    }
}

/// By which term for length a win rate is corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthRegressor {
    /// `ln(len(A) / len(B))`. Exchanging A and B mirrors the reading.
    LogRatio,
    /// `len(A) / len(B)`, as Lee et al. (2024, arXiv 2309.00267, section 6) have it, read at 1. The reading of B is
    /// another than 1 minus that of A.
    Ratio,
}

impl LengthRegressor {
    /// 0 where both are equally long.
    fn term(self, sized: &SizedPreference) -> f64 {
        match self {
            // The logarithm of the quotient would round differently when the two are exchanged.
            Self::LogRatio => sized.first_length.ln() - sized.second_length.ln(),
            Self::Ratio => sized.first_length / sized.second_length - 1.0,
        }
    }
}

/// Win rate read from a fit where both responses are equally long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthCorrected {
    /// Where the term for length vanishes.
    pub win_rate: f64,
    /// Its 95 % interval: that of the log-odds, by the variance that the preferences show
    /// ([`crate::logistic_regression`]).
    pub interval: Interval,
    /// Change of the log-odds of winning per unit of that term: of the [`LengthRegressor`] here, of the
    /// scaled difference in [`crate::length_controlled_win_rate`].
    pub slope: f64,
}

/// `logit p = theta + phi t`, with the term `t` of the regressor, read where the lengths are equal.
///
/// Each preference comes with its cluster, such as the prompt. Those of one cluster are not independent, so they
/// count as one: by their mean preference and their mean term. Where a response is empty there is no ratio, and
/// the preference is left out. None for fewer than three clusters.
pub fn length_corrected_win_rate(
    preferences: impl IntoIterator<Item = (usize, SizedPreference)>,
    regressor: LengthRegressor,
) -> Option<LengthCorrected> {
    let has_ratio = |sized: &SizedPreference| sized.first_length > 0.0 && sized.second_length > 0.0;
    let preferences = preferences.into_iter().filter(|(_, sized)| has_ratio(sized));
    let observed = preferences.map(|(cluster, p)| (cluster, p.preference, regressor.term(&p)));
    let observations = means(observed);
    logistic_regression(&observations).map(|fit| at_intercept(&fit))
}

/// Mean preference and mean term of each cluster, after its number, in the clusters' order.
pub(crate) fn means(observed: impl Iterator<Item = (usize, f64, f64)>) -> Vec<(usize, f64, f64)> {
    let mut by_cluster: BTreeMap<usize, [f64; 3]> = BTreeMap::new();
    for (cluster, preference, term) in observed {
        let sums = by_cluster.entry(cluster).or_default();
        *sums = [sums[0] + preference, sums[1] + term, sums[2] + 1.0];
    }
    let mean = |(cluster, [preference, term, count]): (usize, [f64; 3])| {
        (cluster, preference / count, term / count)
    };
    by_cluster.into_iter().map(mean).collect()
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

    fn sized(preference: f64, first_length: f64, second_length: f64) -> SizedPreference {
        SizedPreference { preference, first_length, second_length }
    }

    /// Each of a cluster of its own.
    fn corrected_by(
        regressor: LengthRegressor,
        preferences: &[SizedPreference],
    ) -> Option<LengthCorrected> {
        length_corrected_win_rate(preferences.iter().copied().enumerate(), regressor)
    }

    fn corrected(preferences: &[SizedPreference]) -> Option<LengthCorrected> {
        corrected_by(LengthRegressor::LogRatio, preferences)
    }

    #[test]
    fn without_an_effect_of_length_the_win_rate_stays() {
        let lengths = [[50.0, 100.0], [100.0, 50.0]];
        let outcomes: Vec<SizedPreference> = (0..200)
            .map(|i| {
                let [first, second] = lengths[i / 4 % 2];
                sized(f64::from(u8::from(i % 4 != 0)), first, second)
            })
            .collect();
        let found = corrected(&outcomes).unwrap();
        assert!((found.win_rate - 0.75).abs() < 1e-3, "{found:?}");
        assert!(
            found.slope.abs() < 1e-2 && found.interval.low > 0.68 && found.interval.high < 0.82
        );
    }

    #[test]
    fn wins_that_only_longer_responses_have_are_corrected_away() {
        // Always longer; wins follow length: 50 % at ratio 1, more above.
        let outcomes: Vec<SizedPreference> = (0..4000)
            .map(|i| {
                let ratio = 1.0 + f64::from(i % 20) / 10.0;
                let p = 1.0 / (1.0 + ratio.powi(-3));
                sized(p, 100.0 * ratio, 100.0)
            })
            .collect();
        let raw = outcomes.iter().map(|o| o.preference).sum::<f64>() / outcomes.len() as f64;
        let found = corrected(&outcomes).unwrap();
        assert!(raw > 0.8 && (found.win_rate - 0.5).abs() < 1e-3, "{raw} {found:?}");
        assert!((found.slope - 3.0).abs() < 1e-2, "{found:?}");
    }

    #[test]
    fn of_equal_lengths_either_regressor_reads_the_plain_rate() {
        let equal: Vec<SizedPreference> = (0..200_usize)
            .map(|i| sized([1.0, 1.0, 0.5, 0.0][i % 4], 10.0 + i as f64, 10.0 + i as f64))
            .collect();
        for regressor in [LengthRegressor::LogRatio, LengthRegressor::Ratio] {
            let found = corrected_by(regressor, &equal).unwrap();
            // The ridge of the fit moves it by less than a thousandth.
            assert!((found.win_rate - 0.625).abs() < 1e-3, "{regressor:?} {found:?}");
            assert_eq!(found.slope, 0.0);
        }
    }

    #[test]
    fn wins_that_follow_the_ratio_are_corrected_away_by_the_ratio() {
        // One third to three times as long, longer in most; the odds of a win are e^(2 (ratio - 1)).
        let outcomes: Vec<SizedPreference> = (0..4000)
            .map(|i| {
                let ratio = (1.0 + f64::from(i % 9)) / 3.0;
                sized(1.0 / (1.0 + (-2.0 * (ratio - 1.0)).exp()), 100.0 * ratio, 100.0)
            })
            .collect();
        let found = corrected_by(LengthRegressor::Ratio, &outcomes).unwrap();
        assert!((found.win_rate - 0.5).abs() < 1e-3 && (found.slope - 2.0).abs() < 1e-2);
        // The logarithm bends another curve through the same lengths.
        let other = corrected(&outcomes).unwrap();
        assert!((other.win_rate - 0.5).abs() > 0.01, "{other:?}");
    }

    /// Lengths of 40 to 400 against lengths of 40 to 280, of which the longer mostly wins: as they are and exchanged.
    fn longer_mostly_wins() -> [Vec<SizedPreference>; 2] {
        let outcomes: Vec<SizedPreference> = (0..60)
            .map(|i| {
                let [first, second] = [40 + 37 * i % 361, 40 + 53 * i % 241].map(f64::from);
                sized(f64::from(u8::from(first > second || i % 5 == 0)), first, second)
            })
            .collect();
        let exchanged = outcomes.iter().map(|outcome| outcome.exchanged()).collect();
        [outcomes, exchanged]
    }

    #[test]
    fn by_the_ratio_it_matters_which_response_is_called_the_first() {
        let both = longer_mostly_wins().map(|o| corrected_by(LengthRegressor::Ratio, &o).unwrap());
        let [there, back] = both.map(|found| found.win_rate);
        assert!((there + back - 1.0).abs() > 0.01, "{there} {back}");
    }

    #[test]
    fn exchanging_the_responses_mirrors_the_reading() {
        let [there, back] = longer_mostly_wins().map(|o| corrected(&o).unwrap());
        // What is left is the rounding of Newton's steps.
        assert!((there.win_rate + back.win_rate - 1.0).abs() < 1e-9, "{there:?} {back:?}");
        assert!((there.interval.low + back.interval.high - 1.0).abs() < 1e-9);
        assert!((there.slope - back.slope).abs() < 1e-9);
    }

    #[test]
    fn copies_within_a_cluster_add_no_certainty() {
        let one =
            |i: usize| sized(f64::from(u8::from(!i.is_multiple_of(3))), 80.0 + i as f64, 90.0);
        let by = LengthRegressor::LogRatio;
        let once = length_corrected_win_rate((0..12).map(|i| (i, one(i))), by);
        let often = length_corrected_win_rate((0..120).map(|i| (i % 12, one(i % 12))), by).unwrap();
        // Ten times the same number and a tenth of it may round once.
        assert!((often.win_rate - once.unwrap().win_rate).abs() < 1e-9);
        assert!((often.interval.low - once.unwrap().interval.low).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_ratio_is_left_out_and_complete_separation_stays_finite() {
        let separated = [[200.0, 1.0], [250.0, 1.0], [50.0, 0.0], [40.0, 0.0]];
        let separated = separated.map(|[length, won]| sized(won, length, 100.0));
        let found = corrected(&separated).unwrap();
        assert!(found.win_rate.is_finite());
        let silent = [sized(0.0, 0.0, 100.0), sized(1.0, 100.0, 0.0), sized(0.5, 0.0, 0.0)];
        assert_eq!(corrected(&[&separated[..], &silent].concat()), Some(found));
        assert!(corrected(&[sized(1.0, 1.0, 1.0)]).is_none());
    }
}
