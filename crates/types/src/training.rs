//! Settings of what is trained, whatever the method: optimisers and adapters. Plain data that a job
//! file holds and a trainer obeys.

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
    /// The rule that turns gradients into updates.
    pub kind: OptimizerKind,
    /// Learning rate after warm-up.
    pub lr: f64,
    /// First steps, over which the rate rises linearly from 0.
    pub warmup_steps: usize,
    /// Largest norm of a step's gradient; a larger one is scaled down to it.
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
    /// Rank of the update: the width of an adapter.
    pub rank: usize,
    /// The update is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Which projections get an adapter, by the last part of their name (`q_proj`, `down_proj`, ...).
    pub targets: Vec<String>,
    /// Seed of A's initial values; in a job beside the job's seed, for each stage's model anew. B starts at zero, so
    /// training starts at the original model.
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
