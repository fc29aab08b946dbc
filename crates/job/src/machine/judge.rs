//! Whether an answer is one to what was asked, before anything follows from it.
//!
//! Answers are kept for good, so one that the machine cannot go on with would be met again by every
//! attempt to go on. It is judged by its kind, its length, and whether its task is open at all.

use super::Machine;
use crate::work::WorkResult;
use crate::{Error, TaskId};

/// What a task is to be answered with, and how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Checked,
    FineTuned,
    Pairs(usize),
    Labels(usize),
    RewardTrained,
    Rollouts(usize),
    Rewards(usize),
    Stepped,
    Saved,
    Contests(usize),
    Evaluations(usize),
}

impl Due {
    /// What came; none where nothing could be made.
    fn of(result: &WorkResult) -> Option<Self> {
        Some(match result {
            WorkResult::Checked(_) => Self::Checked,
            WorkResult::FineTuned(_) => Self::FineTuned,
            WorkResult::Pairs(pairs) => Self::Pairs(pairs.len()),
            WorkResult::Labels(labels) => Self::Labels(labels.len()),
            WorkResult::RewardTrained { .. } => Self::RewardTrained,
            WorkResult::Rollouts(rollouts) => Self::Rollouts(rollouts.len()),
            WorkResult::Rewards(rewards) => Self::Rewards(rewards.len()),
            WorkResult::Stepped(_) => Self::Stepped,
            WorkResult::Saved(_) => Self::Saved,
            WorkResult::Contests(contests) => Self::Contests(contests.len()),
            WorkResult::Evaluations(records) => Self::Evaluations(records.len()),
            WorkResult::Impossible(_) => return None,
        })
    }
}

/// How many of `total` things are in a chunk; none where there is no such chunk.
pub(super) fn in_chunk(total: usize, chunk_size: usize, chunk: usize) -> Option<usize> {
    let first = chunk.checked_mul(chunk_size)?;
    (first < total).then(|| chunk_size.min(total - first))
}

impl Machine {
    /// Whether `result` answers what `task` asks. What was answered before, or cannot be done, is not
    /// judged.
    ///
    /// # Errors
    /// When the task is not open, or the result is of another kind or length than what it asks for.
    pub fn judge(&self, task: TaskId, result: &WorkResult) -> Result<(), Error> {
        let Some(came) = Due::of(result).filter(|_| !self.has(task)) else { return Ok(()) };
        let wrong = |what: String| Err(Error::WrongAnswer { task, what });
        match self.due(task) {
            None => wrong(format!("{came:?} where nothing is asked for")),
            Some(due) if due != came => wrong(format!("{came:?} where it asks for {due:?}")),
            Some(_) if !self.has_all_verdicts(task, result) => {
                wrong("contests without a verdict by each template".to_owned())
            }
            Some(_) => Ok(()),
        }
    }

    /// What the task is to be answered with; none where it is not open.
    pub(super) fn due(&self, task: TaskId) -> Option<Due> {
        match task {
            TaskId::CheckPolicy | TaskId::CheckLabeler => Some(Due::Checked),
            TaskId::CheckJudge => self.job.evaluate.judge.as_ref().map(|_| Due::Checked),
            TaskId::CheckReward => self.reward_start_named().map(|_| Due::Checked),
            TaskId::Demonstrate(chunk) => self.demonstrating.as_ref()?.due(chunk),
            TaskId::FineTune => self.job.sft.as_ref().map(|_| Due::FineTuned),
            TaskId::Sample(_) | TaskId::Label(_) => self.labeling.as_ref()?.due(task),
            TaskId::Reward => self.job.reward_model.as_ref().map(|_| Due::RewardTrained),
            TaskId::Rollout { .. } | TaskId::Score { .. } | TaskId::Step(_) => {
                self.training.due(&self.job, task)
            }
            // Measured of the policy as it is.
            TaskId::Staleness { step, .. }
            | TaskId::Validate { step, .. }
            | TaskId::ValidateScore { step, .. }
                if step != self.training.learned() =>
            {
                None
            }
            TaskId::Staleness { step, chunk, part } => {
                self.staleness.as_ref()?.due(step, chunk, part)
            }
            TaskId::Validate { .. } | TaskId::ValidateScore { .. } => {
                self.selection.as_ref()?.due(task)
            }
            TaskId::Challenge { .. } | TaskId::JudgeCandidate { .. } | TaskId::SavePolicy => {
                self.selection.as_ref()?.due(task)
            }
            TaskId::Respond(_) | TaskId::Judge(_) => self.evaluation.due(task),
        }
    }

    fn has_all_verdicts(&self, task: TaskId, result: &WorkResult) -> bool {
        match (task, result) {
            (TaskId::Judge(_), WorkResult::Evaluations(records)) => {
                self.evaluation.has_all_verdicts(records)
            }
            _ => true,
        }
    }
}
