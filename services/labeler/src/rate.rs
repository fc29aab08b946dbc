//! The labeler's rating as the reward (d-RLAIF, paper section 4).

use crate::{account, with_judge};
use rlaif_job::{Rate, Tokens, WorkResult};
use rlaif_worker::{Failure, JobResources, Progress};

pub(crate) fn rate(
    job: &JobResources,
    rate: &Rate,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    with_judge(job, &rate.labeler, |judge| {
        let mut used = Tokens::default();
        let ratings = account::rate(job, judge, &rate.items, &mut used);
        progress.used(used);
        let rewards = ratings?.into_iter().map(|rating| rating.map(|r| r.reward));
        Ok(WorkResult::Rewards(rewards.collect()))
    })
}
