//! Looks a policy over before anything is spent on it: it loads, and every prompt leaves room for a
//! response.

use rlaif_data::{Reader, prompt_of};
use rlaif_job::{CheckPolicy, CheckedModel, WorkResult};
use rlaif_worker::{Dialogue, Failure, JobResources};
use std::io::Cursor;

pub(crate) fn check_policy(job: &JobResources, check: &CheckPolicy) -> Result<WorkResult, Failure> {
    let policy = job.language_model(&check.policy.model)?;
    let dialogue = Dialogue::of(&policy.checkpoint, check.policy.chat)?;
    for (artifact, file) in &check.prompts {
        // Errors name the line of the user's own file.
        let reader = Reader::new(file, Cursor::new(job.artifacts.get(artifact)?));
        reader.read_all(|record| {
            let tokens = dialogue.prompt(&prompt_of(&record)?, check.sampling.max_new_tokens);
            tokens.map(drop).map_err(|e| e.to_string())
        })?;
    }
    let checkpoint = &policy.checkpoint;
    let (name, hash) = (checkpoint.name.clone(), checkpoint.hash.clone());
    Ok(WorkResult::Checked(CheckedModel { name, hash }))
}
