//! The reward model: labelled pairs as tokens, and how good it is on pairs it has not seen.

use crate::dialogue::Dialogue;
use crate::stages::label::LabelRecord;
use rlaif_models::{Answer, Ask, Error, LanguageModel, ScoreRequest};
use rlaif_rl::{LabelledPair, PairScores};
use rlaif_stats::{CalibrationBin, Interval, brier, ece, reliability, wilson};
use serde::{Deserialize, Serialize};

/// The scorable labels as the reward model reads them. A pair that does not fit its context is left
/// out.
pub fn labelled_pairs(dialogue: &Dialogue, labels: &[LabelRecord]) -> Vec<LabelledPair> {
    let pairs = labels.iter().filter_map(|record| {
        let label = record.comparison.as_ref()?.label;
        let tokens = |response: &str| {
            let response = dialogue.response(response);
            let mut tokens = dialogue.prompt(&record.pair.prompt, response.len()).ok()?;
            tokens.extend(response);
            Some(tokens)
        };
        let (a, b) = (tokens(&record.pair.response_a)?, tokens(&record.pair.response_b)?);
        Some(LabelledPair { a, b, label })
    });
    pairs.collect()
}

/// Rewards of token sequences.
///
/// # Errors
/// When the engine fails.
pub fn rewards(engine: &dyn LanguageModel, sequences: Vec<Vec<u32>>) -> Result<Vec<f32>, Error> {
    let requests =
        sequences.into_iter().map(|tokens| ScoreRequest { tokens, ask: Ask::Reward }).collect();
    let rewards = engine.score(requests)?.into_iter().map(|answer| match answer {
        Answer::Reward(reward) => reward,
        _ => f32::NAN,
    });
    Ok(rewards.collect())
}

/// How good a reward model is on held-out labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardQuality {
    /// Pairs measured.
    pub pairs: usize,
    /// Share ranked as labelled; ties of the label are left out.
    pub accuracy: f64,
    /// Its 95 % interval.
    pub accuracy_interval: Interval,
    /// Expected calibration error against the soft labels, ten bins.
    pub ece: f64,
    /// Brier score against the soft labels.
    pub brier: f64,
    /// The bins.
    pub bins: Vec<CalibrationBin>,
}

/// Measures a reward model. Each pair counts in both presentations, so that calibration does not
/// depend on which candidate happens to be called A.
pub fn quality(pairs: &[LabelledPair], scores: &[PairScores]) -> RewardQuality {
    let mut predictions = Vec::new();
    let (mut right, mut decided) = (0, 0);
    for (pair, score) in pairs.iter().zip(scores) {
        let (predicted, observed) = (score.prefers_a(), pair.label.value());
        predictions.extend([(predicted, observed), (1.0 - predicted, 1.0 - observed)]);
        if observed != 0.5 {
            decided += 1;
            right += usize::from((predicted > 0.5) == (observed > 0.5));
        }
    }
    let bins = reliability(&predictions, 10);
    RewardQuality {
        pairs: pairs.len(),
        accuracy: if decided == 0 { 0.0 } else { right as f64 / decided as f64 },
        accuracy_interval: wilson(right as f64, decided),
        ece: ece(&bins),
        brier: brier(&predictions),
        bins,
    }
}
