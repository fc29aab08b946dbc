//! Looks a labeler or a judge over before anything is spent on it: it loads, and its tokenizer can spell every
//! verdict that it will be asked for.

use crate::with_judges;
use rlaif_job::{CheckLabeler, CheckedModel, WorkResult};
use rlaif_worker::{Failure, JobResources};

pub(crate) fn check_labeler(
    job: &JobResources,
    check: &CheckLabeler,
) -> Result<WorkResult, Failure> {
    with_judges(job, &check.model, &check.templates, |_, labeler| {
        let (name, hash) = (labeler.name.clone(), labeler.hash.clone());
        Ok(WorkResult::Checked(CheckedModel { name, hash }))
    })
}
