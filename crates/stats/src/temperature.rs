//! Temperature scaling (Guo et al. 2017): how far probabilities would have to be drawn towards one
//! half, or away from it, to say what they mean.

use crate::clusters::design_effect;
use crate::interval::Z95;
use crate::{Interval, Prediction};
use serde::{Deserialize, Serialize};

/// Where the fit ends: at [`HOTTEST`] every probability is close to one half, which is where the
/// fit goes when predictions say nothing, or the opposite.
const HOTTEST: f64 = 100.0;
const COLDEST: f64 = 1.0 / HOTTEST;
/// Keeps log-odds of 0 and 1 finite; about half a step of the labels' grid of 2⁻⁴⁰.
const CLIP: f64 = 5e-13;
/// Halvings of the range; more than an f64 can tell apart.
const HALVINGS: usize = 100;

/// The temperature under which predictions fit best.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Temperature {
    /// Divides the log-odds: above 1 the predictions were too sure. Between 0.01 and 100.
    pub temperature: f64,
    /// Its 95 % interval (Wald, of the inverse temperature, widened by the root of the design effect),
    /// within the same bounds.
    pub interval: Interval,
    /// Mean log loss of the predictions as they are, nats.
    pub log_loss: f64,
    /// Mean log loss at the temperature, nats.
    pub calibrated_log_loss: f64,
}

/// Fits the temperature to predictions and what was observed by maximum likelihood.
///
/// The log loss is convex in the inverse temperature, so its slope is bisected: no step size and
/// no start to choose. None without a prediction other than one half.
pub fn fit_temperature(predictions: &[Prediction]) -> Option<Temperature> {
    let log_odds: Vec<(f64, f64)> =
        predictions.iter().map(|p| (logit(p.predicted), p.observed)).collect();
    if log_odds.iter().all(|(z, _)| *z == 0.0) {
        return None;
    }
    let slope = |inverse: f64| -> f64 {
        log_odds.iter().map(|(z, observed)| (sigmoid(inverse * z) - observed) * z).sum()
    };
    let (mut low, mut high) = (1.0 / HOTTEST, 1.0 / COLDEST);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    let inverse = f64::midpoint(low, high);
    let information: f64 =
        log_odds.iter().map(|(z, _)| sigmoid(inverse * z) * sigmoid(-inverse * z) * z * z).sum();
    // What each prediction adds to the slope, which is the spread that the information takes for independent.
    let scores = predictions.iter().zip(&log_odds);
    let scores =
        scores.map(|(p, (z, observed))| (p.cluster, (sigmoid(inverse * z) - observed) * z));
    let half = Z95 * design_effect(scores).sqrt() / information.sqrt();
    let temperature = |inverse: f64| 1.0 / inverse.clamp(1.0 / HOTTEST, 1.0 / COLDEST);
    Some(Temperature {
        temperature: temperature(inverse),
        interval: Interval { low: temperature(inverse + half), high: temperature(inverse - half) },
        log_loss: log_loss(&log_odds, 1.0),
        calibrated_log_loss: log_loss(&log_odds, inverse),
    })
}

/// The prediction at a temperature.
pub fn at_temperature(p: f64, temperature: f64) -> f64 {
    sigmoid(logit(p) / temperature)
}

fn logit(p: f64) -> f64 {
    let p = p.clamp(CLIP, 1.0 - CLIP);
    (p / (1.0 - p)).ln()
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// `-o ln sigmoid(z) - (1 - o) ln sigmoid(-z)`, written so that nothing overflows.
fn log_loss(log_odds: &[(f64, f64)], inverse: f64) -> f64 {
    let loss = |(z, observed): &(f64, f64)| {
        let z = inverse * z;
        z.max(0.0) - observed * z + (-z.abs()).exp().ln_1p()
    };
    log_odds.iter().map(loss).sum::<f64>() / log_odds.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::independent;

    #[test]
    fn nine_in_ten_that_hold_three_times_in_four_are_twice_too_sure() {
        // ln(9) / T = ln(3), so T = 2; half of them from the other side.
        let predictions = [(0.9, 1.0), (0.9, 1.0), (0.9, 1.0), (0.9, 0.0)];
        let mirrored = predictions.map(|(p, o)| (1.0 - p, 1.0 - o));
        let found = fit_temperature(&independent(&[predictions, mirrored].concat())).unwrap();
        assert!((found.temperature - 2.0).abs() < 1e-9, "{found:?}");
        assert!((at_temperature(0.9, found.temperature) - 0.75).abs() < 1e-9);
        let entropy = -(0.75 * 0.75_f64.ln() + 0.25 * 0.25_f64.ln());
        assert!((found.calibrated_log_loss - entropy).abs() < 1e-12);
        assert!(found.log_loss > found.calibrated_log_loss);
        assert!(found.interval.low < 2.0 && found.interval.high > 2.0);
    }

    #[test]
    fn predictions_that_say_the_opposite_end_at_the_hottest() {
        let found = fit_temperature(&independent(&[(0.9, 0.0), (0.8, 0.0)])).unwrap();
        assert!((found.temperature - HOTTEST).abs() < 1e-9);
    }

    #[test]
    fn certainty_stays_finite_and_indifference_has_no_temperature() {
        let found = fit_temperature(&independent(&[(1.0, 1.0), (0.0, 0.0)])).unwrap();
        assert!(found.log_loss.is_finite() && found.calibrated_log_loss.is_finite());
        assert!(found.interval.low.is_finite() && found.interval.high.is_finite());
        assert_eq!(fit_temperature(&independent(&[(0.5, 1.0)])), None);
        assert_eq!(fit_temperature(&[]), None);
    }
    #[test]
    fn copies_of_a_prompts_pairs_leave_the_temperature_as_uncertain_as_it_was() {
        let each: Vec<Prediction> = (0..40)
            .map(|cluster| {
                let predicted = 0.6 + 0.3 * (cluster % 4) as f64 / 3.0;
                let observed = f64::from(u8::from(cluster % 10 < 7));
                Prediction { cluster, predicted, observed }
            })
            .collect();
        let copies: Vec<Prediction> = each.iter().flat_map(|p| [*p; 9]).collect();
        let [once, often] = [&each, &copies].map(|all| fit_temperature(all).unwrap());
        // Slopes are bisected, and nine times a sum may round.
        assert!((once.temperature - often.temperature).abs() < 1e-9, "{once:?} {often:?}");
        assert!((once.interval.low - often.interval.low).abs() < 1e-6, "{once:?} {often:?}");
        assert!((once.interval.high - often.interval.high).abs() < 1e-6, "{once:?} {often:?}");
    }
}
