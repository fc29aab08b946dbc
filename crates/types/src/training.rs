//! Settings of what is trained: plain data that a job file holds and a learner obeys.

use crate::Problems;
use serde::{Deserialize, Serialize};

/// Which rule turns gradients into updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Loshchilov & Hutter 2019: two moments per weight, decoupled weight decay.
    #[default]
    AdamW,
    /// Shazeer & Stern 2018: one factored second moment, the paper's choice.
    Adafactor,
}

/// Settings of an optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// Steps over which the rate rises linearly from 0.
    pub warmup_steps: usize,
    /// Largest norm of a step's gradient.
    pub max_grad_norm: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// AdamW: decay of the first moment.
    pub beta1: f64,
    /// AdamW: decay of the second moment.
    pub beta2: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::AdamW,
            lr: 1e-5,
            warmup_steps: 0,
            max_grad_norm: 1.0,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
        }
    }
}

impl OptimizerConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let positive = |x: f64| x > 0.0 && x.is_finite();
        problems.check(positive(self.lr), "lr", format!("must be positive, not {}", self.lr));
        problems.check(
            self.max_grad_norm > 0.0,
            "max_grad_norm",
            format!("must be positive, not {}", self.max_grad_norm),
        );
        for (field, x) in
            [("beta1", self.beta1), ("beta2", self.beta2), ("weight_decay", self.weight_decay)]
        {
            let what = format!("must be in [0, 1), not {x}");
            problems.check((0.0..1.0).contains(&x), field, what);
        }
        problems
    }
}

/// Which layers get adapters, and how wide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Projections by the last part of their name (`q_proj`, `down_proj`, ...).
    pub targets: Vec<String>,
    /// Seed of A's initial values. B starts at zero, so training starts at the original model.
    pub seed: u64,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        Self { rank: 16, alpha: 32.0, targets: targets.map(String::from).to_vec(), seed: 0 }
    }
}

impl LoraConfig {
    /// True when the layer of this name gets an adapter.
    pub fn applies_to(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        self.targets.iter().any(|target| target == last)
    }
}

/// Where the divergence from the reference enters. The paper leaves it open; runs record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlacement {
    /// Each token pays `beta · (log pi - log reference)` out of its reward, and the baseline learns
    /// to expect it.
    #[default]
    Reward,
    /// The loss has a term of its own.
    Loss,
}

/// Settings of REINFORCE with a value baseline (paper section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReinforceConfig {
    /// Weight of the divergence from the reference; the reward's is `1 - beta`.
    pub beta: f64,
    /// Where the divergence enters.
    pub kl_placement: KlPlacement,
    /// Temperature the rollouts are drawn at; the policy trained is the one sampled from.
    pub temperature: f32,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// Updates the value network.
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
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let (beta, temperature) = (self.beta, self.temperature);
        let what = format!("must be in [0, 1], not {beta}");
        problems.check((0.0..=1.0).contains(&beta), "beta", what);
        let what = format!("must be positive, not {temperature}");
        problems.check(temperature > 0.0 && temperature.is_finite(), "temperature", what);
        let cap = self.importance_cap;
        let what = format!("must be at least 1, not {cap}");
        problems.check(cap >= 1.0 && cap.is_finite(), "importance_cap", what);
        problems.section("policy", self.policy.problems());
        problems.section("value", self.value.problems());
        problems
    }
}
