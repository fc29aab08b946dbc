//! Responses of the trained policy and of its start to the same held-out prompts.

use crate::generate::{draw, tokens_of};
use crate::prompts::encode;
use rlaif_job::{Contest, Policy, Respond, Rollout, WorkResult, seed_for, strip_trailing_junk};
use rlaif_worker::{Dialogue, Failure, JobResources, Progress};

/// Both sides draw with the same seeds.
pub(crate) fn respond(
    job: &JobResources,
    respond: &Respond,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let trained = responses(job, respond, &respond.trained.policy, progress)?;
    progress.goes_on()?;
    let start = responses(job, respond, &respond.start, progress)?;
    let contests = respond.trained.prompts.iter().zip(trained.into_iter().zip(start));
    let contests = contests.map(|(prompt, (trained, start))| Contest {
        prompt: prompt.clone(),
        trained,
        start,
    });
    Ok(WorkResult::Contests(contests.collect()))
}

fn responses(
    job: &JobResources,
    respond: &Respond,
    policy: &Policy,
    progress: &dyn Progress,
) -> Result<Vec<String>, Failure> {
    let generate = &respond.trained;
    job.with_engine(&policy.model, |engine| {
        let dialogue = Dialogue::with(engine, policy.chat)?;
        let tokens = encode(&dialogue, generate)?;
        let seed = seed_for(generate.seed, "evaluation", 0);
        let drawn = draw(engine, &dialogue, &generate.sampling, seed, generate.first, tokens)?;
        progress.used(tokens_of(&drawn));
        let texts =
            drawn.into_iter().map(|Rollout { text, .. }| match respond.strip_trailing_junk {
                true => strip_trailing_junk(&text).to_owned(),
                false => text,
            });
        Ok(texts.collect())
    })
}
