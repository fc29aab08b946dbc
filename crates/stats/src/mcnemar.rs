//! McNemar's test: whether one of two answers to the same questions is right more often.
//!
//! Questions of one cluster, such as pairs of one prompt, are not independent, so each cluster counts once:
//! for the answer that is right more often in it. Where each has one question that is McNemar's exact test.

use crate::binomial_two_sided;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The clusters in which one of the two is right more often than the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The first is; of a cluster of one question: only the first is right.
    pub only_first: u64,
    /// The second is.
    pub only_second: u64,
    /// Exact two-sided p-value of an even split of those.
    pub p_value: f64,
}

impl McNemar {
    /// From the cluster of each question, and whether the first and the second are right there.
    pub fn of(outcomes: impl IntoIterator<Item = (usize, bool, bool)>) -> Self {
        let mut leads: BTreeMap<usize, i64> = BTreeMap::new();
        for (cluster, first, second) in outcomes {
            *leads.entry(cluster).or_default() += i64::from(first) - i64::from(second);
        }
        let led = |by: i64| leads.values().filter(|lead| lead.signum() == by).count() as u64;
        let (only_first, only_second) = (led(1), led(-1));
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
        let each = outcomes.enumerate().map(|(i, (first, second))| (i, first, second));
        let test = McNemar::of(each);
        assert_eq!((test.only_first, test.only_second), (9, 1));
        // 9 or more of 10 either way: 2 · (1 + 10) / 1024.
        assert!((test.p_value - 22.0 / 1024.0).abs() < 1e-12);
        assert_eq!(McNemar::of([(0, true, true)]).p_value, 1.0);
    }

    #[test]
    fn a_cluster_counts_once_for_whom_it_favours() {
        let copies = (0..10).flat_map(|cluster| [(cluster, cluster != 9, cluster == 9); 20]);
        let even = [(10, true, false), (10, false, true)];
        let leaning = [(11, true, false), (11, true, false), (11, false, true)];
        let test = McNemar::of(copies.chain(even).chain(leaning));
        assert_eq!((test.only_first, test.only_second), (10, 1));
    }
}
