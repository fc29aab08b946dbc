//! Names of a job's tasks. As text they sort in the order in which tasks depend on each other.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One task of a job. Chunks and steps count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TaskId {
    /// Look the policy over.
    CheckPolicy,
    /// Look the labeler over.
    CheckLabeler,
    /// Look the judge over, where it is not the labeler.
    CheckJudge,
    /// Look over the model that the reward model starts from, where that is another than the policy's.
    CheckReward,
    /// Have the labeler answer a chunk of the training prompts.
    Demonstrate(usize),
    /// Fine-tune.
    FineTune,
    /// Sample a chunk of pairs.
    Sample(usize),
    /// Label a chunk of pairs.
    Label(usize),
    /// Train the reward model.
    Reward,
    /// Draw a chunk of a step's rollouts.
    Rollout {
        /// The step.
        step: usize,
        /// The chunk within the step.
        chunk: usize,
    },
    /// Reward a chunk of a step's rollouts.
    Score {
        /// The step.
        step: usize,
        /// The chunk within the step.
        chunk: usize,
        /// Which part of the reward; 0 where it is no mixture.
        part: usize,
    },
    /// Train on a step's rollouts.
    Step(usize),
    /// Hold the reward model against the labeler on a chunk of pairs.
    Staleness {
        /// Steps that the policy has made.
        step: usize,
        /// The chunk within the measurement.
        chunk: usize,
        /// Which part of it.
        part: Measure,
    },
    /// Have a version of the policy answer a chunk of the selection's prompts.
    Validate {
        /// Steps that it has made.
        step: usize,
        /// The chunk.
        chunk: usize,
    },
    /// Reward those answers.
    ValidateScore {
        /// Steps that the policy has made.
        step: usize,
        /// The chunk.
        chunk: usize,
        /// Which part of the reward.
        part: usize,
    },
    /// Have a candidate and the start respond to a chunk of the selection's prompts.
    Challenge {
        /// Steps that the candidate has made.
        step: usize,
        /// The chunk.
        chunk: usize,
    },
    /// Judge those responses.
    JudgeCandidate {
        /// Steps that the candidate has made.
        step: usize,
        /// The chunk.
        chunk: usize,
    },
    /// Save the version that was chosen.
    SavePolicy,
    /// Respond to a chunk of held-out prompts.
    Respond(usize),
    /// Judge a chunk of responses.
    Judge(usize),
}

/// Parts of measuring staleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Sample pairs from the policy as it is.
    Sample,
    /// The labeler compares them.
    Label,
    /// The reward model scores both of each.
    Score,
}

impl Measure {
    const ALL: [Self; 3] = [Self::Sample, Self::Label, Self::Score];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "a-sample",
            Self::Label => "b-label",
            Self::Score => "c-score",
        }
    }
}

impl TaskId {
    /// Name of the stage the task belongs to.
    pub fn stage(self) -> &'static str {
        match self {
            Self::CheckPolicy | Self::CheckLabeler | Self::CheckJudge | Self::CheckReward => {
                "check"
            }
            Self::Demonstrate(_) => "demonstrate",
            Self::FineTune => "sft",
            Self::Sample(_) => "sample",
            Self::Label(_) => "label",
            Self::Reward => "reward",
            Self::Rollout { .. } | Self::Score { .. } | Self::Step(_) => "policy",
            Self::Staleness { .. } => "staleness",
            Self::Validate { .. } | Self::ValidateScore { .. } => "selection",
            Self::Challenge { .. } | Self::JudgeCandidate { .. } | Self::SavePolicy => "selection",
            Self::Respond(_) | Self::Judge(_) => "evaluate",
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckPolicy => f.write_str("0-check/policy"),
            Self::CheckLabeler => f.write_str("0-check/labeler"),
            Self::CheckJudge => f.write_str("0-check/judge"),
            Self::CheckReward => f.write_str("0-check/reward"),
            Self::Demonstrate(chunk) => write!(f, "1-demonstrate/{chunk:08}"),
            Self::FineTune => f.write_str("1-sft"),
            Self::Sample(chunk) => write!(f, "2-sample/{chunk:08}"),
            Self::Label(chunk) => write!(f, "3-label/{chunk:08}"),
            Self::Reward => f.write_str("4-reward"),
            Self::Rollout { step, chunk } => write!(f, "5-policy/{step:08}/a-rollout/{chunk:08}"),
            // As it was called before there were mixtures: journals hold it.
            Self::Score { step, chunk, part: 0 } => {
                write!(f, "5-policy/{step:08}/b-score/{chunk:08}")
            }
            Self::Score { step, chunk, part } => {
                write!(f, "5-policy/{step:08}/b-score/{chunk:08}/{part:02}")
            }
            Self::Step(step) => write!(f, "5-policy/{step:08}/c-step"),
            // Before the step that waits for it.
            Self::Staleness { step, chunk, part } => {
                write!(f, "5-policy/{step:08}/0-staleness/{chunk:08}/{}", part.as_str())
            }
            Self::Validate { step, chunk } => {
                write!(f, "5-policy/{step:08}/1-validate/{chunk:08}/a-respond")
            }
            Self::ValidateScore { step, chunk, part } => {
                write!(f, "5-policy/{step:08}/1-validate/{chunk:08}/b-score/{part:02}")
            }
            Self::Challenge { step, chunk } => {
                write!(f, "5-select/{step:08}/{chunk:08}/a-respond")
            }
            Self::JudgeCandidate { step, chunk } => {
                write!(f, "5-select/{step:08}/{chunk:08}/b-judge")
            }
            Self::SavePolicy => f.write_str("5-select/z-save"),
            Self::Respond(chunk) => write!(f, "6-respond/{chunk:08}"),
            Self::Judge(chunk) => write!(f, "7-judge/{chunk:08}"),
        }
    }
}

impl FromStr for TaskId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not the name of a task");
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| bad());
        let parts: Vec<&str> = text.split('/').collect();
        Ok(match parts.as_slice() {
            ["0-check", "policy"] => Self::CheckPolicy,
            ["0-check", "labeler"] => Self::CheckLabeler,
            ["0-check", "judge"] => Self::CheckJudge,
            ["0-check", "reward"] => Self::CheckReward,
            ["1-demonstrate", chunk] => Self::Demonstrate(number(chunk)?),
            ["1-sft"] => Self::FineTune,
            ["2-sample", chunk] => Self::Sample(number(chunk)?),
            ["3-label", chunk] => Self::Label(number(chunk)?),
            ["4-reward"] => Self::Reward,
            ["5-policy", step, "a-rollout", chunk] => {
                Self::Rollout { step: number(step)?, chunk: number(chunk)? }
            }
            ["5-policy", step, "b-score", chunk] => {
                Self::Score { step: number(step)?, chunk: number(chunk)?, part: 0 }
            }
            ["5-policy", step, "b-score", chunk, part] => {
                Self::Score { step: number(step)?, chunk: number(chunk)?, part: number(part)? }
            }
            ["5-policy", step, "c-step"] => Self::Step(number(step)?),
            ["5-policy", step, "0-staleness", chunk, part] => Self::Staleness {
                step: number(step)?,
                chunk: number(chunk)?,
                part: Measure::ALL.into_iter().find(|p| p.as_str() == *part).ok_or_else(bad)?,
            },
            ["5-policy", step, "1-validate", chunk, "a-respond"] => {
                Self::Validate { step: number(step)?, chunk: number(chunk)? }
            }
            ["5-policy", step, "1-validate", chunk, "b-score", part] => Self::ValidateScore {
                step: number(step)?,
                chunk: number(chunk)?,
                part: number(part)?,
            },
            ["5-select", step, chunk, "a-respond"] => {
                Self::Challenge { step: number(step)?, chunk: number(chunk)? }
            }
            ["5-select", step, chunk, "b-judge"] => {
                Self::JudgeCandidate { step: number(step)?, chunk: number(chunk)? }
            }
            ["5-select", "z-save"] => Self::SavePolicy,
            ["6-respond", chunk] => Self::Respond(number(chunk)?),
            ["7-judge", chunk] => Self::Judge(number(chunk)?),
            _ => return Err(bad()),
        })
    }
}

impl TryFrom<String> for TaskId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TaskId> for String {
    fn from(task: TaskId) -> String {
        task.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_ORDER: [TaskId; 24] = [
        TaskId::CheckJudge,
        TaskId::CheckLabeler,
        TaskId::CheckPolicy,
        TaskId::CheckReward,
        TaskId::Demonstrate(7),
        TaskId::FineTune,
        TaskId::Sample(9),
        TaskId::Sample(10),
        TaskId::Label(0),
        TaskId::Reward,
        TaskId::Rollout { step: 9, chunk: 0 },
        TaskId::Score { step: 9, chunk: 0, part: 0 },
        TaskId::Score { step: 9, chunk: 0, part: 1 },
        TaskId::Score { step: 9, chunk: 1, part: 0 },
        TaskId::Step(9),
        TaskId::Staleness { step: 10, chunk: 0, part: Measure::Sample },
        TaskId::Staleness { step: 10, chunk: 0, part: Measure::Label },
        TaskId::Validate { step: 10, chunk: 0 },
        TaskId::ValidateScore { step: 10, chunk: 0, part: 1 },
        TaskId::Rollout { step: 10, chunk: 0 },
        TaskId::Challenge { step: 10, chunk: 0 },
        TaskId::JudgeCandidate { step: 10, chunk: 0 },
        TaskId::SavePolicy,
        TaskId::Respond(0),
    ];

    #[test]
    fn names_read_back_and_sort_as_tasks_depend() {
        let names: Vec<String> = IN_ORDER.iter().map(TaskId::to_string).collect();
        assert!(names.is_sorted(), "{names:?}");
        for (task, name) in IN_ORDER.iter().zip(&names) {
            assert_eq!(name.parse(), Ok(*task));
        }
        assert!("5-policy/x/c-step".parse::<TaskId>().is_err());
    }
}
