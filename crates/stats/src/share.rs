//! A share that carries its count and its uncertainty, and is absent where nothing was counted.

use crate::{Interval, wilson};
use serde::{Deserialize, Serialize};

/// How often something happened, with Wilson's 95 % interval.
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
    /// `successes` of `trials`; fractional where a tie counts half.
    pub fn of(successes: f64, trials: usize) -> Self {
        if trials == 0 {
            return Self::default();
        }
        let share = successes / trials as f64;
        Self { trials, share: Some(share), interval: Some(wilson(successes, trials)) }
    }

    /// The mean of outcomes in `[0, 1]`.
    pub fn of_outcomes(outcomes: impl IntoIterator<Item = f64>) -> Self {
        let (sum, trials) =
            outcomes.into_iter().fold((0.0, 0), |(sum, trials), o| (sum + o, trials + 1));
        Self::of(sum, trials)
    }

    /// How often a condition held.
    pub fn of_conditions(conditions: impl IntoIterator<Item = bool>) -> Self {
        Self::of_outcomes(conditions.into_iter().map(|held| f64::from(u8::from(held))))
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
        let share = Share::of_outcomes([1.0, 0.5, 0.0, 1.0]);
        assert_eq!((share.trials, share.share), (4, Some(0.625)));
        assert_eq!(share.interval, Some(wilson(2.5, 4)));
    }
}
