//! Looks a policy over before anything is spent on it: it loads, and every prompt leaves room for a
//! response.

use rlaif_job::{CheckPolicy, CheckedModel, WorkResult};
use rlaif_types::Prompt;
use rlaif_worker::{Dialogue, Failure, JobResources};

pub(crate) fn check_policy(job: &JobResources, check: &CheckPolicy) -> Result<WorkResult, Failure> {
    let policy = job.language_model(&check.policy.model)?;
    let dialogue = Dialogue::of(&policy.checkpoint, check.policy.chat)?;
    for (artifact, file) in &check.prompts {
        let text = job.artifacts.get(artifact)?;
        let text = std::str::from_utf8(&text)
            .map_err(|_| Failure::impossible(format!("{file}: not UTF-8")))?;
        if text.trim().is_empty() {
            return Err(Failure::impossible(format!("{file}: no prompts in it")));
        }
        for (i, line) in text.lines().enumerate() {
            let bad =
                |what: String| Failure::impossible(format!("{file}: prompt {}: {what}", i + 1));
            let prompt: Prompt = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            let tokens = dialogue.prompt(&prompt, check.sampling.max_new_tokens);
            tokens.map_err(|e| bad(e.to_string()))?;
        }
    }
    let checkpoint = &policy.checkpoint;
    let (name, hash) = (checkpoint.name.clone(), checkpoint.hash.clone());
    Ok(WorkResult::Checked(CheckedModel { name, hash }))
}
