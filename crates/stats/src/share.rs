//! A share that carries its count and its uncertainty, and is absent where nothing was counted.
//!
//! Trials come with their cluster, such as the prompt, since those of one cluster are not independent. The
//! interval is Wilson's of as many trials as they are worth: their number divided by the design effect (as
//! Franco et al. 2019 do for samples of surveys). Where each cluster has one trial it is Wilson's own.

use crate::clusters::design_effect;
use crate::interval::score_interval;
use crate::{Interval, wilson};
use serde::{Deserialize, Serialize};

/// How often something happened, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Share {
    /// How many times it could have happened.
    pub trials: usize,
    /// The share of those in which it did, in `[0, 1]`; none without trials.
    pub share: Option<f64>,
    /// Its 95 % interval; none without trials.
    pub interval: Option<Interval>,
}

impl Share {
    /// `successes` of `trials` that are independent; fractional where a tie counts half.
    pub fn of(successes: f64, trials: usize) -> Self {
        if trials == 0 {
            return Self::default();
        }
        let share = successes / trials as f64;
        Self { trials, share: Some(share), interval: Some(wilson(successes, trials)) }
    }

    /// The mean of outcomes in `[0, 1]`, each with its cluster.
    pub fn of_outcomes(outcomes: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let outcomes: Vec<(usize, f64)> = outcomes.into_iter().collect();
        let trials = outcomes.len();
        if trials == 0 {
            return Self::default();
        }
        let share = outcomes.iter().map(|(_, outcome)| outcome).sum::<f64>() / trials as f64;
        let residuals = outcomes.iter().map(|(cluster, outcome)| (*cluster, outcome - share));
        let worth = trials as f64 / design_effect(residuals);
        Self { trials, share: Some(share), interval: Some(score_interval(share, worth)) }
    }

    /// How often a condition held, each time with its cluster.
    pub fn of_conditions(conditions: impl IntoIterator<Item = (usize, bool)>) -> Self {
        let outcome = |(cluster, held): (usize, bool)| (cluster, f64::from(u8::from(held)));
        Self::of_outcomes(conditions.into_iter().map(outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_is_absent_and_not_zero() {
        assert_eq!(Share::of_conditions([]), Share::default());
        assert_eq!(Share::of_conditions([]).share, None);
    }

    #[test]
    fn a_tie_counts_half() {
        let share = Share::of_outcomes([1.0, 0.5, 0.0, 1.0].into_iter().enumerate());
        assert_eq!((share.trials, share.share), (4, Some(0.625)));
        assert_eq!(share.interval, Some(wilson(2.5, 4)));
    }

    #[test]
    fn copies_within_a_cluster_are_as_uncertain_as_one_of_each() {
        // Eight of twelve, forty times each.
        let copies = Share::of_conditions((0..480).map(|i| (i % 12, i % 12 < 8)));
        assert_eq!(copies.trials, 480);
        let (found, once) = (copies.interval.unwrap(), wilson(8.0, 12));
        // Sums of forty equal numbers may round.
        assert!((found.low - once.low).abs() < 1e-9, "{found:?} {once:?}");
        assert!((found.high - once.high).abs() < 1e-9, "{found:?} {once:?}");
    }

    #[test]
    fn one_cluster_and_clusters_that_all_went_one_way_count_once_each() {
        let always = Share::of_conditions([0, 0, 1, 1, 2, 2].map(|cluster| (cluster, true)));
        assert_eq!((always.share, always.interval), (Some(1.0), Some(wilson(3.0, 3))));
        let alone = Share::of_conditions([(7, true), (7, false), (7, true), (7, false)]);
        assert_eq!((alone.share, alone.interval), (Some(0.5), Some(wilson(0.5, 1))));
    }

    #[test]
    fn clusters_of_unequal_size_that_all_went_one_way_count_once_each_whatever_sums_round() {
        // Four clusters: three of one, one of seven.
        for outcome in [1.0, 0.5, 0.9, 0.7] {
            let alike = Share::of_outcomes((0..10_usize).map(|i| (i.min(3), outcome)));
            let (found, once) = (alike.interval.unwrap(), wilson(4.0 * outcome, 4));
            assert!((found.low - once.low).abs() < 1e-9, "{outcome}: {found:?} {once:?}");
            assert!((found.high - once.high).abs() < 1e-9, "{outcome}: {found:?} {once:?}");
        }
    }

    #[test]
    fn clusters_that_hold_both_outcomes_lie_between_one_trial_each_and_independent_ones() {
        // Of twenty clusters of four, ten are right in all, ten in two of four.
        let right = |i: usize| i.is_multiple_of(2) || i / 4 < 10;
        let mixed = Share::of_conditions((0..80).map(|i| (i / 4, right(i))));
        let width = |interval: Option<Interval>| interval.map(|i| i.high - i.low).unwrap();
        let (few, many) = (Some(wilson(15.0, 20)), Some(wilson(60.0, 80)));
        assert_eq!(mixed.share, Some(0.75));
        assert!(width(mixed.interval) < width(few), "{mixed:?}");
        assert!(width(mixed.interval) > width(many), "{mixed:?}");
    }
}
