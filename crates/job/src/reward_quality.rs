//! How good a reward model is on labels it has not seen.

use rlaif_stats::{
    CalibrationBin, Interval, Prediction, Share, Temperature, brier, clusters, ece,
    fit_temperature, reliability,
};
use rlaif_types::{ContentHash, SoftLabel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::Hash;

/// A held-out label, and what a reward model makes of its pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted<P> {
    /// The pair's prompt: pairs of one are not independent.
    pub prompt: P,
    /// Characters of A and of B.
    pub lengths: [usize; 2],
    /// The probability that A is preferred, by the label.
    pub label: SoftLabel,
    /// By the reward model.
    pub prefers_a: f64,
}

/// How good a reward model is on held-out labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardQuality {
    /// Pairs measured.
    pub pairs: usize,
    /// Share ranked as labelled; equal rewards are half right, ties of the label left out. None where every label is
    /// a tie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Its 95 % interval, over prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_interval: Option<Interval>,
    /// How often the longer response is what the same labels prefer; equal lengths are half right. A model that is no
    /// better may know length alone. None where every label is a tie, and in summaries of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longer_wins: Option<Share>,
    /// Expected calibration error against the soft labels, ten bins.
    pub ece: f64,
    /// Brier score against the soft labels.
    pub brier: f64,
    /// The bins.
    pub bins: Vec<CalibrationBin>,
    /// The temperature under which differences of rewards would fit the labels best. None where all rewards are
    /// equal, and in summaries of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<Temperature>,
}

/// Measures a reward model by its predictions. Each pair counts in both presentations, so that calibration does not
/// depend on which candidate happens to be called A.
pub fn reward_quality<P: Hash + Eq>(pairs: &[Predicted<P>]) -> RewardQuality {
    let prompts = clusters(pairs.iter().map(|pair| &pair.prompt));
    let (mut once, mut predictions) = (Vec::new(), Vec::new());
    let (mut decided, mut by_length) = (Vec::new(), Vec::new());
    for (cluster, pair) in prompts.into_iter().zip(pairs) {
        let Predicted { lengths: [a, b], label, prefers_a: predicted, .. } = *pair;
        let observed = label.value();
        let prediction = Prediction { cluster, predicted, observed };
        let swapped = Prediction { predicted: 1.0 - predicted, observed: 1.0 - observed, cluster };
        once.push(prediction);
        predictions.extend([prediction, swapped]);
        // Whose probability is above one half has the higher reward.
        decided.extend(label.agreement(predicted, 0.5).map(|right| (cluster, right)));
        by_length.extend(label.agreement(a as f64, b as f64).map(|right| (cluster, right)));
    }
    let bins = reliability(&predictions, 10);
    let accuracy = Share::of_outcomes(decided);
    RewardQuality {
        pairs: pairs.len(),
        accuracy: accuracy.share,
        accuracy_interval: accuracy.interval,
        longer_wins: (!by_length.is_empty()).then(|| Share::of_outcomes(by_length)),
        ece: ece(&bins),
        brier: brier(&predictions),
        bins,
        // It is the same in either presentation, so that one is enough.
        temperature: fit_temperature(&once),
    }
}

/// What the reward stage leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardSummary {
    /// On held-out labels.
    pub quality: RewardQuality,
    /// Labels trained on.
    pub trained_on: usize,
    /// Mean reward of the training responses.
    pub mean: f64,
    /// Its standard deviation.
    pub std: f64,
    /// Hash of the model that it started from; none in summaries of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_hash: Option<ContentHash>,
    /// The same by who labelled, where people did; see [`rlaif_types::LabelSource`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_source: BTreeMap<String, SourceQuality>,
    /// Against what people said of those held-out pairs of which a model's label is learned: how far AI feedback led to
    /// what people prefer. None where they said nothing, and in summaries of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_people: Option<Box<RewardQuality>>,
}

/// What came of one source's labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceQuality {
    /// Labels trained on.
    pub trained_on: usize,
    /// On held-out labels.
    pub quality: RewardQuality,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_stats::wilson;

    /// A pair of this prompt, whose A is the longer one.
    fn predicted<P>(prompt: P, prefers_a: f64, label: SoftLabel) -> Predicted<P> {
        Predicted { prompt, lengths: [2, 1], label, prefers_a }
    }

    #[test]
    fn length_alone_is_measured_on_the_pairs_that_the_model_is_measured_on() {
        let pair = |prompt, lengths, label| Predicted { prompt, lengths, label, prefers_a: 0.8 };
        let [a, b] = [true, false].map(SoftLabel::certain);
        let longer_wins = |pairs: &[Predicted<usize>]| reward_quality(pairs).longer_wins;
        let pairs = [
            pair(0, [9, 3], a),
            pair(1, [9, 3], b),
            pair(2, [3, 9], b),
            pair(3, [5, 5], a),
            pair(4, [9, 3], SoftLabel::TIE),
        ];
        assert_eq!(longer_wins(&pairs), Some(Share::of(2.5, 4)));
        assert_eq!(longer_wins(&pairs[4..]), None);
    }

    #[test]
    fn equal_rewards_are_half_right_and_labels_without_a_preference_are_in_no_accuracy() {
        let label = |p: f64| SoftLabel::new(p).unwrap();
        let quality = reward_quality(&[
            predicted("a", 0.5, label(0.9)),
            predicted("b", 0.5, label(0.1)),
            predicted("c", 0.8, label(0.7)),
            predicted("d", 0.8, SoftLabel::TIE),
        ]);
        assert_eq!((quality.pairs, quality.accuracy), (4, Some(2.0 / 3.0)));
        assert_eq!(quality.accuracy_interval, Some(wilson(2.0, 3)));

        let undecided = reward_quality(&[predicted("a", 0.8, SoftLabel::TIE)]);
        assert_eq!((undecided.accuracy, undecided.accuracy_interval), (None, None));
        let json = serde_json::to_value(&undecided).unwrap();
        assert!(json.get("accuracy").is_none(), "{json}");
        assert_eq!(serde_json::from_value::<RewardQuality>(json).unwrap(), undecided);
    }

    #[test]
    fn a_model_that_is_too_sure_has_a_temperature_above_one_whichever_candidate_is_called_a() {
        // Nine in ten that hold three times in four: ln(9) / T = ln(3).
        let quality = |swapped: bool| {
            let pair = |i: usize| match swapped {
                false => predicted(i, 0.9, SoftLabel::certain(i != 0)),
                true => predicted(i, 1.0 - 0.9, SoftLabel::certain(i == 0)),
            };
            reward_quality(&(0..4).map(pair).collect::<Vec<_>>())
        };
        for found in [false, true].map(quality) {
            let fit = found.temperature.unwrap();
            assert!((fit.temperature - 2.0).abs() < 1e-9, "{fit:?}");
        }
        let indifferent = reward_quality(&[predicted(0, 0.5, SoftLabel::certain(true))]);
        assert_eq!(indifferent.temperature, None);
        assert_eq!(reward_quality::<usize>(&[]).temperature, None);
    }

    #[test]
    fn a_summary_of_before_reads_as_one_without_a_temperature_and_people() {
        let quality = reward_quality(&[predicted(0, 0.8, SoftLabel::TIE)]);
        let summary = RewardSummary {
            quality: quality.clone(),
            trained_on: 7,
            mean: 0.0,
            std: 1.0,
            start_hash: None,
            by_source: BTreeMap::new(),
            against_people: Some(Box::new(quality)),
        };
        let mut json = serde_json::to_value(&summary).unwrap();
        assert_eq!(serde_json::from_value::<RewardSummary>(json.clone()).unwrap(), summary);
        assert!(json.as_object_mut().unwrap().remove("against_people").is_some());
        assert!(json["quality"].as_object_mut().unwrap().remove("temperature").is_some());
        let of_before = serde_json::from_value::<RewardSummary>(json.clone()).unwrap();
        assert_eq!((&of_before.against_people, of_before.quality.temperature), (&None, None));
        assert_eq!(serde_json::to_value(of_before).unwrap(), json);
    }

    #[test]
    fn pairs_sampled_for_the_same_prompts_are_as_uncertain_as_so_many_prompts() {
        // Six prompts in turn, four of them ranked as labelled.
        let pair = |i: usize| {
            let prefers_a = if i % 6 < 4 { 0.8 } else { 0.3 };
            predicted(i % 6, prefers_a, SoftLabel::certain(true))
        };
        let quality = reward_quality(&(0..90).map(pair).collect::<Vec<_>>());
        let (found, once) = (quality.accuracy_interval.unwrap(), wilson(4.0, 6));
        assert_eq!(quality.pairs, 90);
        assert!((found.low - once.low).abs() < 1e-9, "{found:?} {once:?}");
        assert!((found.high - once.high).abs() < 1e-9, "{found:?} {once:?}");
    }
}
