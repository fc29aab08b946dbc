//! The paired cluster bootstrap: intervals of whatever follows from sums over observations.
//!
//! Observations of one cluster (pairs of one prompt) are not independent, so whole clusters are
//! drawn with replacement (Field and Welsh, 2007). What is compared is computed of the same draw,
//! which is what makes it paired.

use crate::Interval;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Draws. 50 lie beyond each end of the interval.
const RESAMPLES: usize = 2000;

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Of the observations as they are.
    pub value: f64,
    /// Percentiles 2.5 and 97.5 over resamples; none with fewer than two clusters, or where the
    /// number does not exist in most resamples.
    pub interval: Option<Interval>,
    /// Observations behind it.
    pub count: usize,
    /// Independent clusters of them.
    pub clusters: usize,
}

/// `statistic` of the sums over all observations, with its interval.
///
/// Each observation is its cluster and what it adds to the sums. None where the statistic is none,
/// or not finite, of the observations as they are. The same seed gives the same interval.
pub fn bootstrap<const N: usize>(
    observations: impl IntoIterator<Item = (usize, [f64; N])>,
    seed: u64,
    statistic: impl Fn(&[f64; N]) -> Option<f64>,
) -> Option<Estimate> {
    let mut by_cluster: BTreeMap<usize, [f64; N]> = BTreeMap::new();
    let mut count = 0;
    for (cluster, terms) in observations {
        add(by_cluster.entry(cluster).or_insert([0.0; N]), &terms);
        count += 1;
    }
    let clusters: Vec<[f64; N]> = by_cluster.into_values().collect();
    let statistic = |sums: &[f64; N]| statistic(sums).filter(|value| value.is_finite());
    let mut total = [0.0; N];
    clusters.iter().for_each(|sums| add(&mut total, sums));
    let value = statistic(&total)?;
    let interval = percentiles(&clusters, seed, statistic);
    Some(Estimate { value, interval, count, clusters: clusters.len() })
}

/// The mean of one value per observation, with its interval.
pub fn bootstrap_mean(
    observations: impl IntoIterator<Item = (usize, f64)>,
    seed: u64,
) -> Option<Estimate> {
    let terms = observations.into_iter().map(|(cluster, value)| (cluster, [value, 1.0]));
    bootstrap(terms, seed, |[sum, count]| (*count > 0.0).then(|| sum / count))
}

fn percentiles<const N: usize>(
    clusters: &[[f64; N]],
    seed: u64,
    statistic: impl Fn(&[f64; N]) -> Option<f64>,
) -> Option<Interval> {
    if clusters.len() < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = || {
        let mut sums = [0.0; N];
        for _ in 0..clusters.len() {
            add(&mut sums, &clusters[rng.random_range(0..clusters.len())]);
        }
        sums
    };
    let mut values: Vec<f64> = (0..RESAMPLES).filter_map(|_| statistic(&resample())).collect();
    if values.len() < RESAMPLES / 2 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&values, 0.025)?, high: quantile(&values, 0.975)? })
}

fn add<const N: usize>(sums: &mut [f64; N], terms: &[f64; N]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
}

/// The `q`-quantile of values in ascending order, linear between neighbours; none of none.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_approximation() {
        let values = (0..400).map(|i| (i, f64::from(u8::from(i % 4 == 0))));
        let found = bootstrap_mean(values, 1).unwrap();
        let half = 1.96 * (0.25 * 0.75_f64 / 400.0).sqrt();
        let interval = found.interval.unwrap();
        assert_eq!((found.value, found.count, found.clusters), (0.25, 400, 400));
        // 2,000 resamples leave the percentiles themselves uncertain by about 0.003.
        assert!((interval.low - (0.25 - half)).abs() < 0.01, "{interval:?}");
        assert!((interval.high - (0.25 + half)).abs() < 0.01, "{interval:?}");
    }

    #[test]
    fn resampled_wins_are_binomial() {
        // 14 wins of 20: a resample has Binomial(20, 0.7) wins, of which P(X <= 9) = 0.0171 and
        // P(X <= 10) = 0.0480, P(X <= 17) = 0.9645 and P(X <= 18) = 0.9924.
        let wins = (0..20).map(|i| (i, f64::from(u8::from(i < 14))));
        let interval = bootstrap_mean(wins, 3).unwrap().interval;
        assert_eq!(interval, Some(Interval { low: 0.5, high: 0.9 }));
    }

    #[test]
    fn observations_of_one_cluster_count_as_one() {
        let width = |clusters: usize| {
            let values = (0..400).map(|i| (i % clusters, f64::from(u8::from(i % 4 == 0))));
            let interval = bootstrap_mean(values, 1).unwrap().interval.unwrap();
            interval.high - interval.low
        };
        // Ten copies of each: the interval of 40 is that of 400, wider by the root of ten.
        let ratio = width(40) / width(400);
        assert!((ratio - 10f64.sqrt()).abs() < 0.5, "{ratio}");
    }

    #[test]
    fn a_paired_difference_that_is_always_the_same_has_no_spread() {
        let found = bootstrap_mean((0..50).map(|i| (i, 0.25)), 7).unwrap();
        assert_eq!(found.interval, Some(Interval { low: 0.25, high: 0.25 }));
    }

    #[test]
    fn too_little_has_no_interval_and_nothing_has_no_value() {
        assert_eq!(bootstrap_mean([], 1), None);
        assert_eq!(bootstrap_mean([(0, 1.0), (0, 0.0)], 1).unwrap().interval, None);
        assert!(bootstrap([(0, [1.0])], 1, |_| Some(f64::NAN)).is_none());
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
        assert_eq!(quantile(&[5.0], 0.1), Some(5.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
