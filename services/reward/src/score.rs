//! Rewards from a trained reward model.

use crate::ask::rewards;
use crate::normalisation::Normalisation;
use rlaif_job::{Score, Tokens, WorkResult};
use rlaif_models::LanguageModel;
use rlaif_types::{Item, Judgement, Pair, Prompt, Unscorable, UnscorableReason};
use rlaif_worker::{Dialogue, Failure, JobResources, Progress};

pub(crate) fn score(
    job: &JobResources,
    score: &Score,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let at = job.locate(&score.reward_model.model)?;
    job.with_reward_engine(&at, |engine| {
        let dialogue = Dialogue::with(engine, score.reward_model.chat)?;
        let read: Vec<_> = score.items.iter().map(|item| sequence(&dialogue, item)).collect();
        progress.used(Tokens::read(read.iter().flatten().map(Vec::len).sum()));
        let normalisation = Normalisation { mean: score.mean, std: score.std };
        Ok(WorkResult::Rewards(judge(engine, read, normalisation)?))
    })
}

/// Rewards of the sequences that could be read.
///
/// # Errors
/// When the engine fails.
pub fn judge(
    engine: &dyn LanguageModel,
    read: Vec<Judgement<Vec<u32>>>,
    normalisation: Normalisation,
) -> Result<Vec<Judgement<f64>>, Failure> {
    let mut rewards = rewards(engine, read.iter().flatten().cloned().collect())?.into_iter();
    let judged = read.into_iter().map(|read| {
        read?;
        let reward = rewards.next().expect("one reward for each sequence asked about");
        match reward.is_finite() {
            true => Ok(normalisation.reward(f64::from(reward))),
            false => Err(Unscorable::new(
                UnscorableReason::NoVerdict,
                "the reward model's output is not a number",
            )),
        }
    });
    Ok(judged.collect())
}

/// An item as in training: the prompt, the response's text, the token that ends a text. A response that was cut off is
/// read like others, in training and of rollouts: what is judged is the text, and the token is where its reward is read.
///
/// # Errors
/// When it does not fit the model's context, or the model cannot be given such a prompt.
pub fn sequence(dialogue: &Dialogue, item: &Item) -> Judgement<Vec<u32>> {
    text_sequence(dialogue, &item.prompt, &item.response)
}

/// Both candidates of a pair, each as [`sequence`] has an item.
///
/// # Errors
/// As those of [`sequence`].
pub fn pair_sequences(dialogue: &Dialogue, pair: &Pair) -> Judgement<(Vec<u32>, Vec<u32>)> {
    let of = |response: &str| text_sequence(dialogue, &pair.prompt, response);
    Ok((of(&pair.response_a)?, of(&pair.response_b)?))
}

fn text_sequence(dialogue: &Dialogue, prompt: &Prompt, response: &str) -> Judgement<Vec<u32>> {
    let response = dialogue.response(response);
    let prompt = dialogue.prompt(prompt, response.len())?;
    Ok([prompt, response].concat())
}
