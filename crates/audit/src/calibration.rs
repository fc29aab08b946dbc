//! Whether a label's probability is how often people agree with it.

use crate::sample::{Scored, beside_people};
use rlaif_stats::{
    CalibrationBin, Estimate, Prediction, Temperature, at_temperature, bootstrap_mean, ece,
    fit_temperature, reliability,
};
use rlaif_types::SoftLabel;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Parts of `[0, 1]`; a preferred response's probability lies in the upper half, so ten of them.
pub(crate) const BINS: usize = 20;

/// Calibration against human labels, over the scored pairs that people judged.
///
/// Each pair is one prediction: the probability of the response that the label prefers, and
/// whether people prefer it. So nothing depends on which response is called A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Pairs behind it.
    pub pairs: usize,
    /// Reliability, ten equal parts of `[0.5, 1]`; empty ones are left out.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error over those bins.
    pub ece: Option<f64>,
    /// Brier score: mean squared distance from people's preference.
    pub brier: Option<Estimate>,
    /// The temperature at which labels would fit people best.
    pub temperature: Option<Temperature>,
    /// Expected calibration error at that temperature, on the pairs it was fitted to.
    pub calibrated_ece: Option<f64>,
}

impl Calibration {
    pub(crate) fn of(scored: &[Scored<'_>], seed: u64) -> Self {
        let people = beside_people(scored);
        let predictions: Vec<Prediction> = people
            .iter()
            .map(|(s, human)| prediction(s.answer.label.value(), human.label(), s.group))
            .collect();
        let squares = people
            .iter()
            .map(|(s, human)| (s.group, (s.answer.label.value() - human.label().value()).powi(2)));
        let bins = reliability(&predictions, BINS);
        let temperature = fit_temperature(&predictions);
        let calibrated = temperature.map(|fit| ece_at(fit.temperature, &predictions));
        Self {
            pairs: predictions.len(),
            ece: (!bins.is_empty()).then(|| ece(&bins)),
            bins,
            brier: bootstrap_mean(squares, seed),
            temperature,
            calibrated_ece: calibrated,
        }
    }
}

/// The probability of the response that is preferred where A has `prefers_a`, and what the label says of
/// that response. So nothing depends on which is called A.
pub(crate) fn prediction(prefers_a: f64, label: SoftLabel, group: usize) -> Prediction {
    let (predicted, observed) = match prefers_a.partial_cmp(&0.5) {
        Some(Ordering::Greater) => (prefers_a, label.value()),
        Some(Ordering::Less) => (1.0 - prefers_a, label.swapped().value()),
        _ => (0.5, 0.5),
    };
    Prediction { cluster: group, predicted, observed }
}

/// Expected calibration error of the predictions at a temperature.
pub(crate) fn ece_at(temperature: f64, predictions: &[Prediction]) -> f64 {
    let at =
        |p: &Prediction| Prediction { predicted: at_temperature(p.predicted, temperature), ..*p };
    ece(&reliability(&predictions.iter().map(at).collect::<Vec<_>>(), BINS))
}
