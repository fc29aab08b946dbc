//! What the trained policy is held against: `[evaluate]`, its start, and `[rl.selection]`, its own versions.

use super::{JudgeConfig, RewardSource, RlConfig};
use crate::PartSource;
use rlaif_types::Problems;
use serde::{Deserialize, Serialize};

/// The comparison of the trained policy with its start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Templates that judge it, built-in ones or .toml files; `labeler.template` where empty. The first makes the
    /// headline.
    pub templates: Vec<String>,
    /// Responses to each held-out prompt.
    pub samples_per_prompt: usize,
    /// Strip trailing junk symbols from the responses of both before judging (paper section 3).
    pub strip_trailing_junk: bool,
    /// Who judges it, and the candidates of `[rl.selection]`; without this table the labeler, which is easily pleased
    /// by what it taught.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeConfig>,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            templates: Vec::new(),
            samples_per_prompt: 1,
            strip_trailing_junk: true,
            judge: None,
        }
    }
}

/// The choice among a policy's versions, by the paper's rule (section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// Steps between versions that are validated by the reward that trains; the last is, too.
    pub every: usize,
    /// Versions with the highest validation reward that the evaluation's judge compares with the start.
    pub candidates: usize,
    /// Held-out prompts that the choice goes by; evaluation uses the others.
    pub prompts: usize,
}

impl Default for SelectionConfig {
    fn default() -> Self {
        // Four as in the paper.
        Self { every: 20, candidates: 4, prompts: 64 }
    }
}

impl SelectionConfig {
    /// What makes no sense in `rl`, which it is a part of.
    pub(super) fn problems(&self, rl: &RlConfig) -> Problems {
        let mut problems = Problems::default();
        let Self { every, candidates, prompts } = *self;
        for (field, count) in [("every", every), ("candidates", candidates), ("prompts", prompts)] {
            problems.check_positive(field, count);
        }
        problems.check(rl.steps > 0, "", "chooses among versions, and rl.steps = 0 makes none");
        let what =
            "goes by the reward that trains the policy; rl.reward = \"preferences\" has none";
        problems.check(rl.reward != RewardSource::Preferences, "", what);
        let what = "goes by the reward that trains the policy; a share of match-ups within a group is 0.5 on \
            average, whatever the policy";
        problems.check(!rl.rewards_by(PartSource::Pairwise), "", what);
        problems
    }
}
