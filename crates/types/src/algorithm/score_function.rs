//! Settings of the score-function gradients: REINFORCE with a value baseline, and leave-one-out.

use super::{KlEstimator, KlPlacement, KlTerm, check_beta};
use crate::{OptimizerConfig, Problems};
use serde::{Deserialize, Serialize};

/// Settings of REINFORCE with a value baseline (paper section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReinforceConfig {
    /// Weight of the divergence from the reference; the reward's is `1 - beta`.
    pub beta: f64,
    /// Where the divergence enters.
    pub kl_placement: KlPlacement,
    /// How the divergence is estimated; where it is not set, `k1` in the reward and `k2` in the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_estimator: Option<KlEstimator>,
    /// Temperature the rollouts are drawn at; the policy trained is the one sampled from. A job sets it to
    /// `sampling.temperature`, whatever is written here.
    pub temperature: f32,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
    /// The optimiser of the value network.
    pub value: OptimizerConfig,
    /// First steps in which only the value network learns.
    pub value_warmup_steps: u64,
    /// Subtract the batch's mean from the advantages. A value network that lags behind the policy
    /// makes them all negative or all positive, which moves the policy away from, or towards,
    /// whatever it happened to draw. The paper does not do it.
    pub center_advantages: bool,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts. With 1, a step's
    /// rollouts are drawn while the step before it is learned. What is older is left out.
    pub max_off_policy_steps: usize,
    /// Largest importance weight `pi / pi_drawn` of a token of an older policy; at least 1. Truncation
    /// bounds the variance at the price of some bias (IMPALA, Espeholt et al. 2018, section 4.1).
    pub importance_cap: f32,
}

impl Default for ReinforceConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_placement: KlPlacement::Reward,
            kl_estimator: None,
            temperature: 0.9,
            policy: OptimizerConfig::default(),
            value: OptimizerConfig::default(),
            value_warmup_steps: 0,
            center_advantages: false,
            max_off_policy_steps: 0,
            importance_cap: 2.0,
        }
    }
}

impl ReinforceConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, self.kl_placement, self.kl_estimator)
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let beta = self.beta;
        let what = format!("must be in [0, 1], not {beta}");
        problems.check((0.0..=1.0).contains(&beta), "beta", what);
        check_cap(&mut problems, self.importance_cap);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems.section("value", self.value.problems());
        problems
    }
}

/// Settings of REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RlooConfig {
    /// Weight of the divergence from the reference; the reward's is 1.
    pub beta: f64,
    /// Where the divergence enters.
    pub kl_placement: KlPlacement,
    /// How the divergence is estimated; where it is not set, `k1` in the reward and `k2` in the loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_estimator: Option<KlEstimator>,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts, as in `rl.reinforce`.
    pub max_off_policy_steps: usize,
    /// Largest importance weight `pi / pi_drawn` of a token of an older policy, as in `rl.reinforce`.
    pub importance_cap: f32,
}

impl Default for RlooConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_placement: KlPlacement::Reward,
            kl_estimator: None,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
            importance_cap: 2.0,
        }
    }
}

impl RlooConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, self.kl_placement, self.kl_estimator)
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_cap(&mut problems, self.importance_cap);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems
    }
}

fn check_cap(problems: &mut Problems, cap: f32) {
    let what = format!("must be at least 1, not {cap}");
    problems.check(cap >= 1.0 && cap.is_finite(), "importance_cap", what);
}
