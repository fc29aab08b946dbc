//! McNemar's test: whether one of two answers to the same questions is right more often.

use crate::binomial_two_sided;
use serde::{Deserialize, Serialize};

/// The questions on which exactly one of the two is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Only the first is right.
    pub only_first: u64,
    /// Only the second is right.
    pub only_second: u64,
    /// Exact two-sided p-value of an even split of those.
    pub p_value: f64,
}

impl McNemar {
    /// From whether the first and the second are right, for each question.
    pub fn of(outcomes: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let (mut only_first, mut only_second) = (0, 0);
        for (first, second) in outcomes {
            only_first += u64::from(first && !second);
            only_second += u64::from(second && !first);
        }
        let p_value = binomial_two_sided(only_first, only_first + only_second);
        Self { only_first, only_second, p_value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_on_which_they_differ_count() {
        let both_right = std::iter::repeat_n((true, true), 1000);
        let outcomes = both_right.chain([(true, false); 9]).chain([(false, true)]);
        let test = McNemar::of(outcomes);
        assert_eq!((test.only_first, test.only_second), (9, 1));
        // 9 or more of 10 either way: 2 · (1 + 10) / 1024.
        assert!((test.p_value - 22.0 / 1024.0).abs() < 1e-12);
        assert_eq!(McNemar::of([(true, true)]).p_value, 1.0);
    }
}
