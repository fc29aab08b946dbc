//! Whether probabilities mean what they say.

use crate::{Interval, Share};
use serde::{Deserialize, Serialize};

/// A probability, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// What it belongs to, such as the prompt; those of one cluster are not independent.
    pub cluster: usize,
    /// The probability.
    pub predicted: f64,
    /// What was observed (0 to 1; soft labels are fractional).
    pub observed: f64,
}

/// Predictions of similar confidence, and what happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Number of predictions.
    pub count: usize,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Mean of what was observed.
    pub observed: f64,
    /// Its 95 % interval, as of a [`Share`]; none in records of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// Predictions in `bins` equal parts of `[0, 1]`; empty parts are left out.
pub fn reliability(predictions: &[Prediction], bins: usize) -> Vec<CalibrationBin> {
    let mut parts = vec![Vec::new(); bins];
    for prediction in predictions {
        let part = ((prediction.predicted * bins as f64) as usize).min(bins - 1);
        parts[part].push(*prediction);
    }
    parts.iter().filter_map(|part| CalibrationBin::of(part)).collect()
}

impl CalibrationBin {
    /// None of none.
    fn of(predictions: &[Prediction]) -> Option<Self> {
        let Share { trials: count, share, interval } =
            Share::of_outcomes(predictions.iter().map(|p| (p.cluster, p.observed)));
        let predicted = predictions.iter().map(|p| p.predicted).sum::<f64>() / count as f64;
        Some(Self { count, predicted, observed: share?, interval })
    }
}

/// Expected calibration error: mean gap between predicted and observed, weighted by count.
pub fn ece(bins: &[CalibrationBin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let gaps = bins.iter().map(|bin| bin.count as f64 * (bin.predicted - bin.observed).abs());
    if total == 0 { 0.0 } else { gaps.sum::<f64>() / total as f64 }
}

/// Brier score: mean squared difference between predicted and observed.
pub fn brier(predictions: &[Prediction]) -> f64 {
    let squares = predictions.iter().map(|p| (p.predicted - p.observed).powi(2));
    if predictions.is_empty() { 0.0 } else { squares.sum::<f64>() / predictions.len() as f64 }
}

/// For tests: predictions of a cluster each, as probability and observation.
#[cfg(test)]
pub(crate) fn independent(predictions: &[(f64, f64)]) -> Vec<Prediction> {
    let of = |(cluster, (predicted, observed)): (usize, &(f64, f64))| Prediction {
        cluster,
        predicted: *predicted,
        observed: *observed,
    };
    predictions.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecaster_who_is_right_three_times_in_four_at_75_percent_is_calibrated() {
        let calm = [(0.75, 1.0), (0.75, 1.0), (0.75, 1.0), (0.75, 0.0)];
        assert!(ece(&reliability(&independent(&calm), 10)) < 1e-12);
        let boastful = independent(&calm.map(|(_, observed)| (1.0, observed)));
        let bins = reliability(&boastful, 10);
        assert_eq!((bins.len(), bins[0].count), (1, 4));
        assert!((ece(&bins) - 0.25).abs() < 1e-12 && (brier(&boastful) - 0.25).abs() < 1e-12);
    }
    #[test]
    fn a_bin_is_as_uncertain_as_its_clusters_are_many() {
        let copies: Vec<Prediction> = (0..60)
            .map(|i| {
                let observed = f64::from(u8::from(i % 6 < 4));
                Prediction { cluster: i % 6, predicted: 0.75, observed }
            })
            .collect();
        let bin = reliability(&copies, 10)[0];
        let (found, once) = (bin.interval.unwrap(), crate::wilson(4.0, 6));
        assert_eq!(bin.count, 60);
        assert!((found.low - once.low).abs() < 1e-9 && (found.high - once.high).abs() < 1e-9);
    }
}
