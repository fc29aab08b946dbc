//! The reward model: labelled pairs as tokens, and how good it is on pairs it has not seen.

use crate::dialogue::Dialogue;
use rlaif_job::LabelRecord;
use rlaif_models::{Answer, Ask, Error, LanguageModel, ScoreRequest};
use rlaif_rl::LabelledPair;

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
