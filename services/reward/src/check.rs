//! Looks over what a reward model is to start from, before labels are paid for: it is there, it can be opened, a head
//! that it brings is a reward model's, and it can be given prompts as the job gives them. No weights are read.

use rlaif_job::{CheckReward, CheckedModel, WorkResult};
use rlaif_models::ScalarModel;
use rlaif_worker::{Dialogue, Failure, JobResources, open_checkpoint};

pub(crate) fn check_reward(job: &JobResources, check: &CheckReward) -> Result<WorkResult, Failure> {
    look_over(job, check).map_err(|why| match why {
        Failure::Impossible(why) => Failure::Impossible(format!("reward_model.from: {why}")),
        passing => passing,
    })
}

fn look_over(job: &JobResources, check: &CheckReward) -> Result<WorkResult, Failure> {
    let start = open_checkpoint(&job.locate(&check.start.model)?.path)?;
    ScalarModel::has_head(&start)?;
    Dialogue::of(&start, check.start.chat)?;
    Ok(WorkResult::Checked(CheckedModel { name: start.name, hash: start.hash }))
}
