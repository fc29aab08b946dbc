//! How well a reward model predicts labels that it has not seen: people's, and a labeling model's.

use crate::agreement::{Baseline, Pair};
use crate::calibration::{BINS, ece_at, prediction};
use crate::sample::numbered;
use rlaif_stats::{
    CalibrationBin, Estimate, Prediction, Share, Temperature, bootstrap_mean, ece, fit_temperature,
    reliability,
};
use rlaif_types::SoftLabel;
use serde::{Deserialize, Serialize};

/// One held-out pair.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardObservation {
    /// What its pair shares with others, usually the prompt; such pairs are not independent.
    pub group: String,
    /// Length of response A, characters.
    pub len_a: usize,
    /// Length of response B, characters.
    pub len_b: usize,
    /// What people said, where they were asked.
    pub human: Option<SoftLabel>,
    /// What a labeling model said, where one was asked.
    pub ai: Option<SoftLabel>,
    /// The reward model's probability that A is preferred.
    pub prefers_a: f64,
}

/// A reward model beside both kinds of labels. Each is absent where no pair has such a label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardAudit {
    /// Beside people's.
    pub human: Option<RewardAgreement>,
    /// Beside a labeling model's.
    pub ai: Option<RewardAgreement>,
}

/// A reward model beside one kind of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardAgreement {
    /// Pairs that have such a label; calibration is over these.
    pub pairs: usize,
    /// How often the model prefers what the label prefers. A label that prefers neither is left out; a
    /// model that prefers neither is half right.
    pub accuracy: Share,
    /// "The longer response wins" on the same pairs.
    pub longer_wins: Baseline,
    /// Reliability of the preferred response's probability; empty parts are left out.
    pub bins: Vec<CalibrationBin>,
    /// Expected calibration error over those.
    pub ece: f64,
    /// Brier score: mean squared distance from the label.
    pub brier: Option<Estimate>,
    /// The temperature at which the probabilities would fit the labels best.
    pub temperature: Option<Temperature>,
    /// Expected calibration error at that temperature, on the pairs that it was fitted to.
    pub calibrated_ece: f64,
}

impl RewardAudit {
    /// Audits a reward model. The same seed gives the same intervals.
    pub fn of(observations: &[RewardObservation], seed: u64) -> Self {
        Self {
            human: RewardAgreement::of(observations, |o| o.human, seed),
            ai: RewardAgreement::of(observations, |o| o.ai, seed),
        }
    }
}

impl RewardAgreement {
    fn of(
        observations: &[RewardObservation],
        label: impl Fn(&RewardObservation) -> Option<SoftLabel>,
        seed: u64,
    ) -> Option<Self> {
        let groups = numbered(observations.iter().map(|o| o.group.as_str()));
        let labelled: Vec<_> = observations
            .iter()
            .filter_map(|o| Some((o, label(o)?, groups[o.group.as_str()])))
            .collect();
        if labelled.is_empty() {
            return None;
        }
        let decided: Vec<Pair> = labelled
            .iter()
            .filter_map(|(o, label, group)| {
                Pair::beside(*label, o.prefers_a, [o.len_a, o.len_b], *group)
            })
            .collect();
        let predictions: Vec<Prediction> = labelled
            .iter()
            .map(|(o, label, group)| prediction(o.prefers_a, *label, *group))
            .collect();
        let squares = labelled
            .iter()
            .map(|(o, label, group)| (*group, (o.prefers_a - label.value()).powi(2)));
        let bins = reliability(&predictions, BINS);
        let temperature = fit_temperature(&predictions);
        let at = temperature.map_or(1.0, |fit| fit.temperature);
        Some(Self {
            pairs: labelled.len(),
            accuracy: Share::of_outcomes(decided.iter().map(|pair| (pair.group, pair.agreed))),
            longer_wins: Baseline::of(&decided, |pair| pair.longer, seed),
            ece: ece(&bins),
            bins,
            brier: bootstrap_mean(squares, seed),
            temperature,
            calibrated_ece: ece_at(at, &predictions),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(p: f64) -> Option<SoftLabel> {
        Some(SoftLabel::new(p).unwrap())
    }

    fn observation(prefers_a: f64, human: Option<SoftLabel>, len_a: usize) -> RewardObservation {
        let group = format!("{prefers_a} {len_a}");
        RewardObservation { group, len_a, len_b: 10, human, ai: label(0.7), prefers_a }
    }

    #[test]
    fn ties_of_the_label_are_left_out_and_those_of_the_model_are_half_right() {
        let observations = [
            observation(0.8, label(1.0), 20),
            observation(0.4, label(1.0), 20),
            observation(0.5, label(0.0), 20),
            observation(0.9, label(0.5), 20),
            observation(0.9, None, 30),
        ];
        let RewardAudit { human, ai } = RewardAudit::of(&observations, 1);
        let (human, ai) = (human.unwrap(), ai.unwrap());
        assert_eq!((human.pairs, human.accuracy), (4, Share::of(1.5, 3)));
        // A is longer in all, and wins two of three.
        assert_eq!(human.longer_wins.agreement, Share::of(2.0, 3));
        assert_eq!((ai.pairs, ai.accuracy), (5, Share::of(3.5, 5)));
    }

    #[test]
    fn calibration_does_not_depend_on_which_response_is_called_a() {
        let of = |swapped: bool| {
            let swap = |o: RewardObservation| match swapped {
                false => o,
                true => RewardObservation {
                    prefers_a: 1.0 - o.prefers_a,
                    human: o.human.map(SoftLabel::swapped),
                    ai: o.ai.map(SoftLabel::swapped),
                    len_a: o.len_b,
                    len_b: o.len_a,
                    ..o
                },
            };
            // 3 of 4 right at 75 %: calibrated.
            let labels = [1.0, 1.0, 1.0, 0.0];
            let all = labels.iter().map(|p| swap(observation(0.75, label(*p), 20)));
            RewardAudit::of(&all.collect::<Vec<_>>(), 1).human.unwrap()
        };
        assert_eq!(of(false), of(true));
        let calibrated = of(false);
        assert!(calibrated.ece < 1e-12 && (calibrated.brier.unwrap().value - 0.1875).abs() < 1e-12);
        assert!((calibrated.temperature.unwrap().temperature - 1.0).abs() < 1e-6);
    }

    #[test]
    fn without_labels_there_are_no_numbers() {
        let alone = RewardObservation { ai: None, ..observation(0.8, None, 20) };
        assert_eq!(RewardAudit::of(&[alone], 1), RewardAudit { human: None, ai: None });
        assert_eq!(RewardAudit::of(&[], 1), RewardAudit { human: None, ai: None });
    }
}
