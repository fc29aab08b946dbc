//! Whether probabilities mean what they say.

use serde::{Deserialize, Serialize};

/// Predictions of similar confidence, and what happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Number of predictions.
    pub count: usize,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Mean of what was observed (0 to 1; soft labels are fractional).
    pub observed: f64,
}

/// Predictions in `bins` equal parts of `[0, 1]`; empty parts are left out.
pub fn reliability(predictions: &[(f64, f64)], bins: usize) -> Vec<CalibrationBin> {
    let mut sums = vec![(0_usize, 0.0, 0.0); bins];
    for (predicted, observed) in predictions {
        let bin = ((predicted * bins as f64) as usize).min(bins - 1);
        sums[bin].0 += 1;
        sums[bin].1 += predicted;
        sums[bin].2 += observed;
    }
    sums.into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, predicted, observed)| CalibrationBin {
            count,
            predicted: predicted / count as f64,
            observed: observed / count as f64,
        })
        .collect()
}

/// Expected calibration error: mean gap between predicted and observed, weighted by count.
pub fn ece(bins: &[CalibrationBin]) -> f64 {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let gaps = bins.iter().map(|bin| bin.count as f64 * (bin.predicted - bin.observed).abs());
    if total == 0 { 0.0 } else { gaps.sum::<f64>() / total as f64 }
}

/// Brier score: mean squared difference between predicted and observed.
pub fn brier(predictions: &[(f64, f64)]) -> f64 {
    let squares = predictions.iter().map(|(p, o)| (p - o).powi(2));
    if predictions.is_empty() { 0.0 } else { squares.sum::<f64>() / predictions.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecaster_who_is_right_three_times_in_four_at_75_percent_is_calibrated() {
        let calm = [(0.75, 1.0), (0.75, 1.0), (0.75, 1.0), (0.75, 0.0)];
        assert!(ece(&reliability(&calm, 10)) < 1e-12);
        let boastful = calm.map(|(_, observed)| (1.0, observed));
        let bins = reliability(&boastful, 10);
        assert_eq!((bins.len(), bins[0].count), (1, 4));
        assert!((ece(&bins) - 0.25).abs() < 1e-12 && (brier(&boastful) - 0.25).abs() < 1e-12);
    }
}
