//! Logistic regression on one variable, of outcomes that may be shares and may come in clusters.

use crate::Interval;
use crate::interval::Z95;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keeps the fit finite where the variable separates the outcomes completely.
const RIDGE: f64 = 1e-3;
/// Newton's steps; a handful suffice unless the outcomes are separated.
const STEPS: usize = 50;
/// Numbers no further apart are the same: what rounding leaves of equal means.
const ROUNDING: f64 = 1e-9;

/// Log-odds of an outcome as `intercept + slope x`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// Observations.
    pub count: usize,
    /// Log-odds where the variable is 0.
    pub intercept: f64,
    /// Its 95 % interval, see [`logistic_regression`].
    pub intercept_interval: Interval,
    /// Change of the log-odds per unit of the variable.
    pub slope: f64,
    /// Its 95 % interval.
    pub slope_interval: Interval,
}

/// A cluster, such as the prompt, an outcome in `[0, 1]`, and the variable.
type Observation = (usize, f64, f64);

/// Fits outcomes on a variable: `(cluster, outcome, x)`. None for fewer than three observations.
///
/// Outcomes may be shares (Papke and Wooldridge, "Econometric Methods for Fractional Response Variables", 1996): only
/// their mean has to be logistic. Their variance is then anything up to that of wins and losses, `p (1 - p)`, so the
/// intervals take it from the residuals (Huber 1967, White 1980), added up over each cluster: Wald's, of the sandwich
/// `B M B`, in which `B` is the inverse of the penalised information and `M` the sum over `G` clusters of their scores'
/// squares, times `G / (G - 2)` for the two coefficients that the residuals have been fitted with.
///
/// Where residuals show no variance the intervals are those of wins and losses, `B` alone, times the observations of a
/// cluster, which errs on the wide side. So it is with fewer than three clusters, with outcomes that are all the same
/// or that the variable separates, and with a variable that is always the same: then only the penalty tells slope from
/// intercept. One that is always 0 says nothing of the slope alone.
pub fn logistic_regression(observations: &[Observation]) -> Option<Logistic> {
    if observations.len() < 3 {
        return None;
    }
    let fit = Fit::of(observations);
    let [intercept_variance, slope_variance] = fit.variances(observations);
    Some(Logistic {
        count: observations.len(),
        intercept: fit.intercept,
        intercept_interval: around(fit.intercept, intercept_variance),
        slope: fit.slope,
        slope_interval: around(fit.slope, slope_variance),
    })
}

/// Coefficients, and the inverse of the penalised information there.
struct Fit {
    intercept: f64,
    slope: f64,
    /// Of the intercept, of both, and of the slope.
    inverse: [f64; 3],
}

impl Fit {
    fn of(observations: &[Observation]) -> Self {
        let mut fit = Self { intercept: 0.0, slope: 0.0, inverse: [f64::INFINITY; 3] };
        for _ in 0..STEPS {
            let (mut g0, mut g1) = (-RIDGE * fit.intercept, -RIDGE * fit.slope);
            let (mut h00, mut h01, mut h11) = (RIDGE, 0.0, RIDGE);
            for (_, outcome, x) in observations {
                let p = fit.at(*x);
                let weight = p * (1.0 - p);
                g0 += outcome - p;
                g1 += (outcome - p) * x;
                h00 += weight;
                h01 += weight * x;
                h11 += weight * x * x;
            }
            let determinant = h00 * h11 - h01 * h01;
            fit.inverse = [h11, -h01, h00].map(|cofactor| cofactor / determinant);
            let [b00, b01, b11] = fit.inverse;
            let (step0, step1) = (b00 * g0 + b01 * g1, b01 * g0 + b11 * g1);
            // Newton's step, bounded: far from the optimum the quadratic model overshoots.
            let bound = (5.0 / step0.abs().max(step1.abs()).max(1e-300)).min(1.0);
            fit.intercept += bound * step0;
            fit.slope += bound * step1;
            if step0.abs() + step1.abs() < 1e-10 {
                break;
            }
        }
        fit
    }

    fn at(&self, x: f64) -> f64 {
        1.0 / (1.0 + (-(self.intercept + self.slope * x)).exp())
    }

    /// Of the intercept and of the slope.
    fn variances(&self, observations: &[Observation]) -> [f64; 2] {
        let scores = self.scores(observations);
        let per_cluster = observations.len() as f64 / scores.len() as f64;
        let of_wins = [self.inverse[0], self.inverse[2]].map(|variance| variance * per_cluster);
        let outcomes = range(observations.iter().map(|(_, outcome, _)| *outcome));
        if scores.len() < 3 || is_one(outcomes) {
            return of_wins;
        }
        let variable = range(observations.iter().map(|(.., x)| *x));
        let seen = self.sandwich(&scores);
        if is_one(variable) {
            let is_zero = variable[0].abs() < ROUNDING;
            return if is_zero { [seen[0], of_wins[1]] } else { of_wins };
        }
        if is_separated(observations) { of_wins } else { seen }
    }

    /// The gradients of the log-likelihood, added up over each cluster.
    fn scores(&self, observations: &[Observation]) -> Vec<[f64; 2]> {
        let mut by_cluster: BTreeMap<usize, [f64; 2]> = BTreeMap::new();
        for (cluster, outcome, x) in observations {
            let residual = outcome - self.at(*x);
            let [s0, s1] = by_cluster.entry(*cluster).or_default();
            *s0 += residual;
            *s1 += residual * x;
        }
        by_cluster.into_values().collect()
    }

    fn sandwich(&self, scores: &[[f64; 2]]) -> [f64; 2] {
        let [b00, b01, b11] = self.inverse;
        let sum = |of: &dyn Fn(&[f64; 2]) -> f64| scores.iter().map(|s| of(s).powi(2)).sum::<f64>();
        let variances =
            [sum(&|[s0, s1]| b00 * s0 + b01 * s1), sum(&|[s0, s1]| b01 * s0 + b11 * s1)];
        let clusters = scores.len() as f64;
        variances.map(|variance| variance * clusters / (clusters - 2.0))
    }
}

/// Whether a value of the variable has all that did not win on one side and all that did not lose on the other: then
/// no fit is the best without the penalty (Albert and Anderson 1984), and its residuals are the penalty's alone.
fn is_separated(observations: &[Observation]) -> bool {
    let places = |keeps: fn(f64) -> bool| {
        let kept = observations.iter().filter(|(_, outcome, _)| keeps(*outcome));
        range(kept.map(|(.., x)| *x))
    };
    let unwon = places(|outcome| outcome < 1.0 - ROUNDING);
    let unlost = places(|outcome| outcome > ROUNDING);
    unwon[1] <= unlost[0] + ROUNDING || unlost[1] <= unwon[0] + ROUNDING
}

/// The least and the greatest.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

fn is_one([low, high]: [f64; 2]) -> bool {
    high - low < ROUNDING
}

fn around(value: f64, variance: f64) -> Interval {
    let half = Z95 * variance.sqrt();
    Interval { low: value - half, high: value + half }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Each of a cluster of its own.
    fn alone(observations: impl IntoIterator<Item = (f64, f64)>) -> Vec<Observation> {
        let numbered = observations.into_iter().enumerate();
        numbered.map(|(cluster, (outcome, x))| (cluster, outcome, x)).collect()
    }

    fn half(interval: Interval) -> f64 {
        (interval.high - interval.low) / 2.0
    }

    fn halves(fit: &Logistic) -> [f64; 2] {
        [fit.intercept_interval, fit.slope_interval].map(half)
    }

    /// The halves of the intervals that wins and losses would have.
    fn halves_of_wins(observations: &[Observation]) -> [f64; 2] {
        let [intercept, _, slope] = Fit::of(observations).inverse;
        [intercept, slope].map(|variance| half(around(0.0, variance)))
    }

    #[test]
    fn two_groups_have_the_log_odds_ratio_as_their_slope() {
        // 30 of 40 at x = 1 and 10 of 40 at x = 0: ln 3 and -ln 3.
        let group = |x: f64, wins: usize| {
            (0..40).map(move |i| (f64::from(u8::from(i < wins)), x)).collect::<Vec<_>>()
        };
        let both = [group(1.0, 30), group(0.0, 10)].concat();
        let fit = logistic_regression(&alone(both)).unwrap();
        let ln3 = 3_f64.ln();
        // The ridge moves the fit by about a thousandth.
        assert!((fit.intercept + ln3).abs() < 2e-3 && (fit.slope - 2.0 * ln3).abs() < 2e-3);
        // Woolf's standard error of a log odds ratio: the root of the sum of 1 / count; 80 for 78.
        let woolf = Z95 * (2.0 / 30.0 + 2.0 / 10.0_f64).sqrt() * (80.0 / 78.0_f64).sqrt();
        assert!((half(fit.slope_interval) - woolf).abs() < 2e-3);
    }

    #[test]
    fn the_interval_of_shares_is_that_of_their_residuals() {
        // Means of 1/2 at x = 0 and 3/4 at x = 1, from which shares are 0.1 and 0.05 away.
        let shares = [(0.4, 0.0), (0.6, 0.0), (0.7, 1.0), (0.8, 1.0)];
        let fit = logistic_regression(&alone((0..200).map(|i| shares[i % 4]))).unwrap();
        // A group's log-odds vary by (sum of squared residuals) / (n p (1 - p))^2, n = 100.
        let [low, high] = [1.0 / 25.0_f64.powi(2), 0.25 / 18.75_f64.powi(2)];
        let expected = [low, low + high].map(|variance| Z95 * (variance * 200.0 / 198.0).sqrt());
        for (found, expected) in halves(&fit).into_iter().zip(expected) {
            // The ridge is a 25,000th of the information.
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        }
    }

    #[test]
    fn wins_and_losses_have_the_interval_of_wins_and_losses() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let won = alone((0..4000).map(|_| {
            let (x, drawn): (f64, f64) = (rng.random_range(-1.0..1.0), rng.random_range(0.0..1.0));
            let p = 1.0 / (1.0 + (-0.3 - 0.8 * x).exp());
            (f64::from(u8::from(drawn < p)), x)
        }));
        let found = halves(&logistic_regression(&won).unwrap());
        for (found, expected) in found.into_iter().zip(halves_of_wins(&won)) {
            assert!((found / expected - 1.0).abs() < 0.03, "{found} is not {expected}");
        }
    }

    #[test]
    fn the_interval_of_shares_near_one_half_covers_and_is_narrower_than_that_of_wins() {
        let mut rng = ChaCha8Rng::seed_from_u64(1980);
        let truth = [0.1_f64, 0.2];
        let mut covered = [0_usize; 2];
        for _ in 0..400 {
            let shares = alone((0..120).map(|_| {
                let (x, noise): (f64, f64) =
                    (rng.random_range(-1.0..1.0), rng.random_range(-0.3..0.3));
                (1.0 / (1.0 + (-truth[0] - truth[1] * x).exp()) + noise, x)
            }));
            let fit = logistic_regression(&shares).unwrap();
            for (found, wins) in halves(&fit).into_iter().zip(halves_of_wins(&shares)) {
                assert!(found < 0.6 * wins, "{found} {wins}");
            }
            let ends = [fit.intercept_interval, fit.slope_interval];
            for ((covered, interval), truth) in covered.iter_mut().zip(ends).zip(truth) {
                *covered += usize::from(interval.low < truth && truth < interval.high);
            }
        }
        for covered in covered {
            assert!((364..=396).contains(&covered), "{covered} of 400");
        }
    }

    #[test]
    fn copies_within_a_cluster_add_no_certainty() {
        let one = |i: usize| (i, [0.2, 0.9, 0.6][i % 3], (i as f64 / 6.0 - 1.0).powi(3));
        let fit = |count: usize| {
            let observations: Vec<Observation> = (0..count).map(|i| one(i % 12)).collect();
            logistic_regression(&observations).unwrap()
        };
        let (once, often) = (fit(12), fit(240));
        for (often, once) in halves(&often).into_iter().zip(halves(&once)) {
            // A ridge weighs less beside more observations; of twenty times as many it would be 4.5.
            assert!((once / often - 1.0).abs() < 0.01, "{once} {often}");
        }
    }

    #[test]
    fn where_residuals_show_no_variance_the_interval_is_that_of_wins() {
        let xs = [-1.0, -0.5, 0.25, 0.5, 1.0];
        let made = |outcome: fn(f64) -> f64| alone(xs.map(|x| (outcome(x), x)));
        for observations in [
            made(|_| 0.75),
            made(|_| 1.0),
            made(|x| f64::from(u8::from(x > 0.0))),
            // Separated but for one, at the value that separates.
            made(|x| if x == 0.25 { 0.5 } else { f64::from(u8::from(x > 0.25)) }),
            made(|x| f64::from(u8::from(x < 0.0))),
            // Always the same length: only the ridge tells slope from intercept.
            alone([(1.0, 0.7), (0.25, 0.7), (0.5, 0.7)]),
        ] {
            let found = halves(&logistic_regression(&observations).unwrap());
            for (found, wins) in found.into_iter().zip(halves_of_wins(&observations)) {
                assert!((found - wins).abs() < 1e-9, "{found} is not {wins}: {observations:?}");
            }
        }
        // Of two clusters: four observations worth two.
        let few = [(0, 0.4, 0.0), (0, 0.6, 1.0), (1, 0.3, 0.5), (1, 0.2, 0.0)];
        let found = half(logistic_regression(&few).unwrap().intercept_interval);
        let expected = halves_of_wins(&few)[0] * 2_f64.sqrt();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn a_variable_that_is_always_0_has_a_slope_of_nothing() {
        let observations = alone([(0.6, 0.0), (0.4, 0.0), (0.5, 0.0)]);
        let fit = logistic_regression(&observations).unwrap();
        let [intercept, slope] = halves_of_wins(&observations);
        assert_eq!((fit.slope, half(fit.slope_interval)), (0.0, slope));
        // Squared residuals add up to 0.02, the information is 3/4, and three count as one: its ridge is a 750th.
        let expected = Z95 * (0.02 * 3.0_f64).sqrt() / 0.75;
        assert!((half(fit.intercept_interval) - expected).abs() < 2e-3);
        assert!(expected < 0.5 * intercept);
        assert_eq!(logistic_regression(&observations[..2]), None);
    }
}
