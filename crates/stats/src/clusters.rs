//! Observations that come in clusters, such as pairs by prompt: which belong together, and how many
//! independent ones they are worth.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A number for the cluster of each observation: equal keys have equal numbers, in the order of their
/// first appearance.
pub fn clusters<K: Hash + Eq>(keys: impl IntoIterator<Item = K>) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let number = |key: K| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    };
    keys.into_iter().map(number).collect()
}

/// The design effect (Kish, "Survey Sampling", 1965): by how many times the variance of a sum over
/// clusters is that of as many independent observations. 1 where each cluster has one observation; the
/// number of copies where all of a cluster are the same.
///
/// `residuals` are observations minus their mean, or the scores of a fit, each with its cluster. The
/// effect is at least 1: clusters that look more even than chance would have them make nothing surer.
/// Where it cannot be seen, of one cluster or of residuals that are all the same, each cluster counts once.
pub(crate) fn design_effect(residuals: impl IntoIterator<Item = (usize, f64)>) -> f64 {
    let mut by_cluster: BTreeMap<usize, f64> = BTreeMap::new();
    let (mut count, mut apart) = (0_usize, 0.0);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for (cluster, residual) in residuals {
        *by_cluster.entry(cluster).or_default() += residual;
        apart += residual * residual;
        (least, most) = (least.min(residual), most.max(residual));
        count += 1;
    }
    if by_cluster.len() == count {
        return 1.0;
    }
    // Of the same observations they are the same, but zero only where their mean has not been rounded.
    if by_cluster.len() == 1 || least == most {
        return count as f64 / by_cluster.len() as f64;
    }
    let together: f64 = by_cluster.values().map(|sum| sum * sum).sum();
    (together / apart).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_have_the_number_of_their_first_appearance() {
        assert_eq!(clusters(["b", "a", "b", "c"]), [0, 1, 0, 2]);
        assert!(clusters::<&str>([]).is_empty());
    }

    #[test]
    fn copies_count_once_and_observations_of_their_own_in_full() {
        let residual = |cluster: usize| [0.6, -0.4, 0.6, -0.4, -0.4][cluster];
        let each = (0..5).map(|cluster| (cluster, residual(cluster)));
        assert_eq!(design_effect(each), 1.0);
        let eightfold = (0..40).map(|i| (i / 8, residual(i / 8)));
        assert!((design_effect(eightfold) - 8.0).abs() < 1e-12);
        assert_eq!(design_effect([]), 1.0);
    }

    #[test]
    fn a_cluster_that_is_half_right_by_half_wrong_makes_nothing_surer() {
        let even = [(0, 0.5), (0, -0.5), (1, 0.5), (1, -0.5)];
        assert_eq!(design_effect(even), 1.0);
        // Two of the same and one of each: (1 + 1 + 0) / 1.5.
        let mixed = [(0, 0.5), (0, 0.5), (1, -0.5), (1, -0.5), (2, 0.5), (2, -0.5)];
        assert!((design_effect(mixed) - 2.0 / 1.5).abs() < 1e-12);
    }

    #[test]
    fn where_nothing_can_be_seen_of_it_each_cluster_counts_once() {
        assert_eq!(design_effect([(3, 0.5), (3, -0.5), (3, 0.0)]), 3.0);
        assert_eq!(design_effect([(0, 0.0), (0, 0.0), (1, 0.0), (1, 0.0)]), 2.0);
        let rounded = [0, 1, 1, 1, 1, 1].map(|cluster| (cluster, -1.1e-16));
        assert_eq!(design_effect(rounded), 3.0);
    }
}
