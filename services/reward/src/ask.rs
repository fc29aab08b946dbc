//! Rewards of token sequences.

use rlaif_models::{Answer, Ask, Error, LanguageModel, ScoreRequest};
use rlaif_rl::{LabelledPair, PairScores};

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

/// Rewards of both candidates of each pair.
///
/// # Errors
/// When the engine fails.
pub fn pair_scores<'a>(
    engine: &dyn LanguageModel,
    pairs: impl IntoIterator<Item = &'a LabelledPair>,
) -> Result<Vec<PairScores>, Error> {
    let sequences = pairs.into_iter().flat_map(|p| [p.a.clone(), p.b.clone()]).collect();
    let rewards = rewards(engine, sequences)?;
    Ok(rewards.chunks_exact(2).map(|both| PairScores { a: both[0], b: both[1] }).collect())
}
