//! One step of reinforcement learning: rollouts, their rewards, and what to keep of them.

use crate::dialogue::Dialogue;
use crate::stages::reward::rewards;
use rlaif_job::{SamplingConfig, seed_for};
use rlaif_judge::Judge;
use rlaif_models::LanguageModel;
use rlaif_types::{Episode, Item, Judgement, Prompt, Unscorable, UnscorableReason};

/// Where rewards come from.
pub enum Rewarder<'a> {
    /// A reward model, its output shifted and scaled to mean 0 and variance 1 on its training data.
    Model {
        /// The model.
        engine: &'a dyn LanguageModel,
        /// Mean of its rewards.
        mean: f64,
        /// Standard deviation of its rewards.
        std: f64,
    },
    /// The labeler's rating (d-RLAIF, paper section 4).
    Labeler(&'a Judge),
}

/// Draws one response to each prompt.
///
/// # Errors
/// When the engine fails.
pub fn rollouts(
    policy: &dyn LanguageModel,
    dialogue: &Dialogue,
    how: &SamplingConfig,
    seed: u64,
    first_number: usize,
    prompts: &[&[u32]],
) -> Result<Vec<Episode>, rlaif_models::Error> {
    let request = |(i, tokens): (usize, &&[u32])| {
        let seed = seed_for(seed, "rollout", (first_number + i) as u64);
        dialogue.request(tokens.to_vec(), how, seed)
    };
    let generations = policy.generate(prompts.iter().enumerate().map(request).collect())?;
    let pending = || Unscorable::new(UnscorableReason::NoVerdict, "not judged yet");
    let episodes = prompts.iter().zip(generations).map(|(prompt, generation)| Episode {
        prompt: prompt.to_vec(),
        response: generation.tokens,
        logprobs: generation.logprobs,
        reward: Err(pending()),
    });
    Ok(episodes.collect())
}

impl Rewarder<'_> {
    /// Judges each response.
    ///
    /// # Errors
    /// When the labeler's template is not for ratings, or the reward engine fails.
    pub fn judge(
        &self,
        dialogue: &Dialogue,
        prompts: &[&Prompt],
        episodes: &[Episode],
    ) -> Result<Vec<Judgement<f64>>, rlaif_judge::Error> {
        match self {
            Rewarder::Labeler(judge) => {
                let items: Vec<Item> = prompts
                    .iter()
                    .zip(episodes)
                    .map(|(prompt, episode)| Item {
                        prompt: (*prompt).clone(),
                        response: dialogue.text(&episode.response),
                    })
                    .collect();
                let ratings = judge.rate(&items)?;
                Ok(ratings.into_iter().map(|rating| rating.map(|r| r.reward)).collect())
            }
            Rewarder::Model { engine, mean, std } => {
                // As in training: the response's text with its end-of-text token.
                let sequences = episodes.iter().map(|episode| {
                    let response = dialogue.response(&dialogue.text(&episode.response));
                    [&episode.prompt[..], &response].concat()
                });
                let rewards = rewards(*engine, sequences.collect())?;
                Ok(rewards
                    .into_iter()
                    .map(|reward| match reward.is_finite() {
                        true => Ok((f64::from(reward) - mean) / std),
                        false => Err(Unscorable::new(
                            UnscorableReason::NoVerdict,
                            "the reward model's output is not a number",
                        )),
                    })
                    .collect())
            }
        }
    }
}
