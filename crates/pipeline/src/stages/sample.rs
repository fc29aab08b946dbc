//! Pairs of responses to one prompt, for the labeler to compare.

use crate::dialogue::Dialogue;
use rlaif_job::{SamplingConfig, seed_for};
use rlaif_models::{Error, LanguageModel};
use rlaif_types::{Pair, Prompt};

/// Two responses of the policy to each prompt. `numbers` are the pairs' numbers in the run, from
/// which their seeds follow.
///
/// # Errors
/// When the engine fails.
pub fn sample_pairs(
    policy: &dyn LanguageModel,
    dialogue: &Dialogue,
    how: &SamplingConfig,
    seed: u64,
    prompts: &[(usize, &Prompt, &[u32])],
) -> Result<Vec<Pair>, Error> {
    let requests = prompts
        .iter()
        .flat_map(|(number, _, tokens)| {
            ["response a", "response b"].map(|purpose| {
                dialogue.request(tokens.to_vec(), how, seed_for(seed, purpose, *number as u64))
            })
        })
        .collect();
    let responses: Vec<String> =
        policy.generate(requests)?.iter().map(|g| dialogue.text(&g.tokens)).collect();
    let pairs = prompts.iter().zip(responses.chunks_exact(2));
    Ok(pairs
        .map(|((_, prompt, _), responses)| Pair {
            prompt: (*prompt).clone(),
            response_a: responses[0].clone(),
            response_b: responses[1].clone(),
        })
        .collect())
}
