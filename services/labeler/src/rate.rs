//! The labeler's rating as the reward (d-RLAIF, paper section 4).

use crate::with_judge;
use rlaif_job::{Rate, Tokens, WorkResult};
use rlaif_types::{Judgement, Rating};
use rlaif_worker::{Failure, JobResources, Progress};

pub(crate) fn rate(
    job: &JobResources,
    rate: &Rate,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    with_judge(job, &rate.labeler, |judge| {
        let ratings = judge.rate(&rate.items)?;
        progress.used(tokens_of_ratings(&ratings));
        let rewards = ratings.into_iter().map(|rating| rating.map(|r| r.reward));
        Ok(WorkResult::Rewards(rewards.collect()))
    })
}

/// What was read and written for those that could be judged.
pub(crate) fn tokens_of_ratings(ratings: &[Judgement<Rating>]) -> Tokens {
    let answers = || ratings.iter().flatten().flat_map(|rating| &rating.answers);
    Tokens::new(
        answers().map(|answer| answer.prompt_tokens).sum(),
        answers().map(|answer| answer.completion_tokens).sum(),
    )
}
