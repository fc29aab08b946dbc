//! Settings of the algorithms that clip ratios: GRPO and PPO.

use super::{KlEstimator, KlPlacement, KlTerm, check_beta, check_positive};
use crate::{OptimizerConfig, Problems};
use serde::{Deserialize, Serialize};

/// Settings of group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpoConfig {
    /// Weight of the divergence from the reference, in the loss.
    pub beta: f64,
    /// How the divergence is estimated.
    pub kl_estimator: KlEstimator,
    /// A token's ratio to the policy that drew it counts down to `1 - clip_low`...
    pub clip_low: f64,
    /// ... and up to `1 + clip_high`.
    pub clip_high: f64,
    /// Divide advantages by the deviation of their group's rewards. Without it, groups that the
    /// policy finds hard or easy count no more than others (Dr. GRPO, Liu et al. 2025).
    pub scale_by_deviation: bool,
    /// What a token counts in the loss.
    pub aggregation: Aggregation,
    /// Passes over a step's batch.
    pub epochs: usize,
    /// Updates in a pass, each on a part of the batch.
    pub minibatches: usize,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts, as in `rl.reinforce`; the
    /// ratio is to the policy that drew.
    pub max_off_policy_steps: usize,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.04,
            kl_estimator: KlEstimator::K3,
            clip_low: 0.2,
            clip_high: 0.2,
            scale_by_deviation: true,
            aggregation: Aggregation::Sequence,
            epochs: 1,
            minibatches: 1,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl GrpoConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, KlPlacement::Loss, Some(self.kl_estimator))
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_share(&mut problems, "clip_low", self.clip_low);
        check_positive(&mut problems, "clip_high", self.clip_high);
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("minibatches", self.minibatches);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems
    }
}

/// What a token counts in a loss over responses of unequal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Every response counts alike, its tokens share that: the original.
    #[default]
    Sequence,
    /// Every token counts alike (DAPO, Yu et al. 2025): long responses count for more.
    Token,
}

/// Settings of proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) with token-level
/// rewards for the divergence (Ziegler et al. 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Weight of the divergence from the reference, paid token by token out of the reward.
    pub beta: f64,
    /// How the divergence is estimated.
    pub kl_estimator: KlEstimator,
    /// A token's ratio to the policy that drew it counts within `1 ± clip`.
    pub clip: f64,
    /// A value counts within this of what it was when the step began; unbounded where it is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_clip: Option<f64>,
    /// Lambda of generalised advantage estimation; 1 gives returns less the baseline.
    pub gae_lambda: f64,
    /// Shift and scale a batch's advantages to mean 0 and deviation 1.
    pub whiten_advantages: bool,
    /// Passes over a step's batch.
    pub epochs: usize,
    /// Updates in a pass, each on a part of the batch.
    pub minibatches: usize,
    /// The optimiser of the policy.
    pub policy: OptimizerConfig,
    /// The optimiser of the value network.
    pub value: OptimizerConfig,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts, as in `rl.reinforce`; the
    /// ratio is to the policy that drew.
    pub max_off_policy_steps: usize,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_estimator: KlEstimator::K1,
            clip: 0.2,
            value_clip: None,
            gae_lambda: 0.95,
            whiten_advantages: true,
            epochs: 4,
            minibatches: 1,
            policy: OptimizerConfig::default(),
            value: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl PpoConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, KlPlacement::Reward, Some(self.kl_estimator))
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_share(&mut problems, "clip", self.clip);
        if let Some(clip) = self.value_clip {
            check_positive(&mut problems, "value_clip", clip);
        }
        let lambda = self.gae_lambda;
        let what = format!("must be in [0, 1], not {lambda}");
        problems.check((0.0..=1.0).contains(&lambda), "gae_lambda", what);
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("minibatches", self.minibatches);
        problems.section("policy", self.policy.problems());
        problems.section("value", self.value.problems());
        problems
    }
}

fn check_share(problems: &mut Problems, field: &str, x: f64) {
    problems.check(x > 0.0 && x < 1.0, field, format!("must be between 0 and 1, not {x}"));
}
