//! The rollout worker: generates with policies, whichever version is asked for.

mod check;
mod direct_policy;
mod generate;
mod handler;
mod prompts;
mod respond;
mod service;

pub use service::{Direct, RULES, Rollout};

use rlaif_job::{Work, WorkItem, WorkResult};
use rlaif_worker::{Executor, Failure, Progress, Resources, Retry, settle};

/// Does what needs a policy's responses.
pub struct RolloutExecutor {
    resources: Resources,
}

impl RolloutExecutor {
    /// An executor over a process's resources.
    pub fn new(resources: Resources) -> Self {
        Self { resources }
    }
}

impl Executor for RolloutExecutor {
    fn execute(&self, item: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
        settle(|| {
            let job = self.resources.job(&item.job)?;
            match &item.work {
                Work::CheckPolicy(check) => check::check_policy(&job, check),
                Work::SamplePairs(generate) => generate::sample_pairs(&job, generate, progress),
                Work::Rollout(generate) => generate::rollout(&job, generate, progress),
                Work::Respond(respond) => respond::respond(&job, respond, progress),
                _ => Err(Failure::impossible(format!("{} is no rollout worker's task", item.task))),
            }
        })
    }
}
