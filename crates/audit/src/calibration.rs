//! Whether a label's probability is how often people agree with it.

use crate::agreement::prediction;
use crate::sample::{Scored, beside_people};
use rlaif_stats::{
    CalibrationBin, Estimate, Temperature, at_temperature, bootstrap_mean, ece, fit_temperature,
    reliability,
};
use serde::{Deserialize, Serialize};

/// Parts of `[0, 1]`; a preferred response's probability lies in the upper half, so ten of them.
const BINS: usize = 20;

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
        let predictions: Vec<(f64, f64)> =
            people.iter().map(|(s, human)| prediction(s.answer.label, human.prefers_a)).collect();
        let squares = people.iter().map(|(s, human)| {
            let observed = f64::from(u8::from(human.prefers_a));
            (s.group, (s.answer.label.value() - observed).powi(2))
        });
        let bins = reliability(&predictions, BINS);
        let temperature = fit_temperature(&predictions);
        let calibrated = temperature.map(|fit| {
            let at = |(p, o): &(f64, f64)| (at_temperature(*p, fit.temperature), *o);
            ece(&reliability(&predictions.iter().map(at).collect::<Vec<_>>(), BINS))
        });
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
