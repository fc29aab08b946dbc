//! The reward worker: checks what reward models start from, trains them on labels and asks them for rewards. The
//! commands do the same without a job, by what is public here.

mod ask;
mod check;
mod fit;
mod get_reward;
mod handler;
mod keep_back;
mod normalisation;
mod score;
mod scorer;
mod service;
mod train;

pub use ask::pair_scores;
pub use fit::{Example, Fit, FitMetrics};
pub use normalisation::Normalisation;
pub use score::{judge, pair_sequences, sequence};
pub use service::{Direct, RULES, Reward};

use rlaif_job::{Work, WorkItem, WorkResult};
use rlaif_worker::{Executor, Failure, Progress, Resources, Retry, settle};

/// Does what needs a reward model.
pub struct RewardExecutor {
    resources: Resources,
}

impl RewardExecutor {
    /// An executor over a process's resources.
    pub fn new(resources: Resources) -> Self {
        Self { resources }
    }
}

impl Executor for RewardExecutor {
    fn execute(&self, item: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
        settle(|| {
            let job = self.resources.job(&item.job)?;
            match &item.work {
                Work::CheckReward(check) => check::check_reward(&job, check),
                Work::TrainReward(train) => {
                    train::train_reward(&job, item.task.stage(), train, progress)
                }
                Work::Score(score) => score::score(&job, score, progress),
                _ => Err(Failure::impossible(format!("{} is no reward worker's task", item.task))),
            }
        })
    }
}
