//! The labeler's rating as the reward (d-RLAIF, paper section 4).

use crate::with_judges;
use rlaif_job::{Rate, WorkResult};
use rlaif_worker::{Failure, JobResources};
use std::slice;

pub(crate) fn rate(job: &JobResources, rate: &Rate) -> Result<WorkResult, Failure> {
    let template = slice::from_ref(&rate.labeler.template);
    with_judges(job, &rate.labeler.model, template, |judges| {
        let ratings = judges[0].rate(&rate.items)?.into_iter();
        Ok(WorkResult::Rewards(ratings.map(|rating| rating.map(|r| r.reward)).collect()))
    })
}
