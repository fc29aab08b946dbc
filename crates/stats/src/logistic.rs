//! Logistic regression on one variable.

use crate::Interval;
use crate::interval::Z95;
use serde::{Deserialize, Serialize};

/// Keeps the fit finite where the variable separates the outcomes completely.
const RIDGE: f64 = 1e-3;
/// Newton's steps; a handful suffice unless the outcomes are separated.
const STEPS: usize = 50;

/// Log-odds of an outcome as `intercept + slope x`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// Observations.
    pub count: usize,
    /// Log-odds where the variable is 0.
    pub intercept: f64,
    /// Its 95 % interval (Wald).
    pub intercept_interval: Interval,
    /// Change of the log-odds per unit of the variable.
    pub slope: f64,
    /// Its 95 % interval (Wald).
    pub slope_interval: Interval,
}

/// Fits outcomes (in `[0, 1]`) on a variable: `(outcome, x)`. None for fewer than three.
pub fn logistic_regression(observations: &[(f64, f64)]) -> Option<Logistic> {
    if observations.len() < 3 {
        return None;
    }
    let (mut intercept, mut slope) = (0.0_f64, 0.0_f64);
    let mut variances = (f64::INFINITY, f64::INFINITY);
    for _ in 0..STEPS {
        let (mut g0, mut g1) = (-RIDGE * intercept, -RIDGE * slope);
        let (mut h00, mut h01, mut h11) = (RIDGE, 0.0, RIDGE);
        for (outcome, x) in observations {
            let p = 1.0 / (1.0 + (-(intercept + slope * x)).exp());
            let weight = p * (1.0 - p);
            g0 += outcome - p;
            g1 += (outcome - p) * x;
            h00 += weight;
            h01 += weight * x;
            h11 += weight * x * x;
        }
        let determinant = h00 * h11 - h01 * h01;
        let step0 = (h11 * g0 - h01 * g1) / determinant;
        let step1 = (h00 * g1 - h01 * g0) / determinant;
        // Newton's step, bounded: far from the optimum the quadratic model overshoots.
        let bound = (5.0 / step0.abs().max(step1.abs()).max(1e-300)).min(1.0);
        intercept += bound * step0;
        slope += bound * step1;
        variances = (h11 / determinant, h00 / determinant);
        if step0.abs() + step1.abs() < 1e-10 {
            break;
        }
    }
    Some(Logistic {
        count: observations.len(),
        intercept,
        intercept_interval: around(intercept, variances.0),
        slope,
        slope_interval: around(slope, variances.1),
    })
}

fn around(value: f64, variance: f64) -> Interval {
    let half = Z95 * variance.sqrt();
    Interval { low: value - half, high: value + half }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_groups_have_the_log_odds_ratio_as_their_slope() {
        // 30 of 40 at x = 1 and 10 of 40 at x = 0: ln 3 and -ln 3.
        let group = |x: f64, wins: usize| {
            (0..40).map(move |i| (f64::from(u8::from(i < wins)), x)).collect::<Vec<_>>()
        };
        let fit = logistic_regression(&[group(1.0, 30), group(0.0, 10)].concat()).unwrap();
        let ln3 = 3_f64.ln();
        // The ridge moves the fit by about a thousandth.
        assert!((fit.intercept + ln3).abs() < 2e-3 && (fit.slope - 2.0 * ln3).abs() < 2e-3);
        // Woolf's standard error of a log odds ratio: the root of the sum of 1 / count.
        let half = Z95 * (2.0 / 30.0 + 2.0 / 10.0_f64).sqrt();
        assert!((fit.slope_interval.high - fit.slope - half).abs() < 2e-3);
    }

    #[test]
    fn a_variable_that_does_not_vary_has_a_slope_of_nothing() {
        let fit = logistic_regression(&[(1.0, 0.0), (0.0, 0.0), (1.0, 0.0)]).unwrap();
        assert_eq!(fit.slope, 0.0);
        assert!(fit.slope_interval.high.is_finite());
    }
}
