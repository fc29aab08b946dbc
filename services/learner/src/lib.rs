//! The learner: trains policies, by demonstrations and by reinforcement.

mod fine_tune;
mod handler;
mod policy_step;
mod preferences;
mod service;
mod status;
mod versions;

pub use service::{Direct, Learner, RULES};

use policy_step::Held;
use rlaif_job::{Work, WorkItem, WorkResult};
use rlaif_worker::{Executor, Failure, Progress, Resources, Retry, settle};
use status::{Noted, Status};
use std::sync::Mutex;

/// Does what trains a policy.
pub struct LearnerExecutor {
    resources: Resources,
    /// The trainer of the job that stepped last.
    held: Mutex<Option<Held>>,
    status: Status,
}

impl LearnerExecutor {
    /// An executor over a process's resources.
    pub fn new(resources: Resources) -> Self {
        Self { resources, held: Mutex::new(None), status: Status::default() }
    }
}

impl Executor for LearnerExecutor {
    fn execute(&self, item: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
        self.status.begin(item);
        let progress: &dyn Progress = &Noted { status: &self.status, progress };
        let settled = settle(|| {
            let job = self.resources.job(&item.job)?;
            let stage = item.task.stage();
            match &item.work {
                Work::FineTune(work) => fine_tune::fine_tune(&job, stage, work, progress),
                Work::PolicyStep(work) => {
                    policy_step::policy_step(&self.held, &job, item, work, progress)
                }
                Work::SavePolicy(work) => policy_step::save_policy(&job, work),
                _ => Err(Failure::impossible(format!("{} is no learner's task", item.task))),
            }
        });
        self.status.end(&item.work, settled.as_ref().ok());
        settled
    }
}
