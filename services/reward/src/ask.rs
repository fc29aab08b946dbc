//! Rewards of token sequences.

use rlaif_models::{Answer, Ask, Error, LanguageModel, ScoreRequest};

/// One reward for each sequence.
///
/// # Errors
/// When the engine fails.
pub(crate) fn rewards(
    engine: &dyn LanguageModel,
    sequences: Vec<Vec<u32>>,
) -> Result<Vec<f32>, Error> {
    let requests =
        sequences.into_iter().map(|tokens| ScoreRequest { tokens, ask: Ask::Reward }).collect();
    let rewards = engine.score(requests)?.into_iter().map(|answer| match answer {
        Answer::Reward(reward) => reward,
        _ => f32::NAN,
    });
    Ok(rewards.collect())
}
