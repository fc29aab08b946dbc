//! Settings of the algorithms that learn from pairs: DPO of given preferences, and online of drawn ones.

use super::check_positive;
use crate::{OptimizerConfig, Problems};
use serde::{Deserialize, Serialize};

/// A loss on a pair's margin `h`: how much more the policy prefers the better response than its
/// reference does, `log(pi / reference)` of the better less that of the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// `-log sigma(beta h)` (Rafailov et al. 2023).
    #[default]
    Dpo,
    /// `(h - 1 / (2 beta))²` (Azar et al. 2023).
    Ipo,
    /// `max(0, 1 - beta h)` (Zhao et al. 2023).
    Slic,
}

/// Settings of learning from pairs that the policy drew and the reward source ordered (OAIF, Guo et
/// al. 2024, arXiv 2402.04792).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnlineDpoConfig {
    /// Strength of the pull to the reference; above 0.
    pub beta: f64,
    /// The loss on a pair.
    pub loss: PreferenceLoss,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts, as in `rl.reinforce`; pairs
    /// of an older policy are learned from as they are.
    pub max_off_policy_steps: usize,
}

impl Default for OnlineDpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            loss: PreferenceLoss::Dpo,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl OnlineDpoConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_positive(&mut problems, "beta", self.beta);
        problems.section("policy", self.policy.problems());
        problems
    }
}

/// Settings of learning from given preferences (Rafailov et al. 2023, arXiv 2305.18290). A soft label
/// weights the loss of either order by its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Strength of the pull to the reference; above 0.
    pub beta: f64,
    /// The loss on a pair.
    pub loss: PreferenceLoss,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self { beta: 0.1, loss: PreferenceLoss::Dpo, policy: OptimizerConfig::default() }
    }
}

impl DpoConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_positive(&mut problems, "beta", self.beta);
        problems.section("policy", self.policy.problems());
        problems
    }
}
