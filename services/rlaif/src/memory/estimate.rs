//! What a whole job takes in one process, stage by stage, at the moment when each takes most.
//!
//! Everything is in f32. Counted are the tensors: models, trained copies, gradients, optimisers, activations of one
//! micro-batch, keys and values, states while they are written or read. A twentieth more is for the allocator's gaps.

use rlaif_job::{Job, RewardSource};
use rlaif_models::{EngineOptions, Footprint, ModelConfig};
use rlaif_types::{Algorithm, OptimizerConfig, OptimizerKind};
use rlaif_worker::trainable;
use std::borrow::Borrow;

/// Program, tokenisers, threads, before any model.
const PROGRAM: u64 = 100 << 20;

/// The models that a job names, as far as their sizes matter.
pub struct Models {
    /// The policy's.
    pub policy: ModelConfig,
    /// The labeler's, where it runs here and is another model.
    pub labeler: Option<ModelConfig>,
    /// Tokens of the longest prompt, about.
    pub longest_prompt: usize,
}

/// A stage at its fullest.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// In a sentence: "while the policy learns".
    pub name: &'static str,
    /// What for, and bytes.
    pub parts: Vec<(&'static str, u64)>,
}

impl Stage {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        let tensors: u64 = self.parts.iter().map(|(_, bytes)| bytes).sum();
        tensors + tensors / 20
    }
}

/// The fullest stage of `job`.
pub fn peak(job: &Job, models: &Models) -> Stage {
    let stages = stages(job, models).into_iter();
    stages.max_by_key(Stage::bytes).expect("every job evaluates")
}

/// All stages, in order.
fn stages(job: &Job, models: &Models) -> Vec<Stage> {
    let sizes = Sizes::of(job, models);
    let mut stages = Vec::new();
    // What is loaded stays: the policy's start, the labeler, the reward model.
    let mut loaded = sizes.policy;
    if let Some(sft) = &job.sft {
        let name = "while the policy is fine-tuned";
        stages.push(sizes.training(name, loaded, &[&sft.optimizer], Beside::default()));
        loaded += sizes.policy;
    }
    loaded += sizes.labeler;
    if let (Some(reward), RewardSource::Model) = (&job.reward_model, job.rl.reward) {
        let name = "while the reward model learns";
        stages.push(sizes.training(name, loaded, &[&reward.optimizer], Beside::default()));
        loaded += sizes.policy;
    }
    if job.rl.steps > 0 {
        let beside = Beside {
            rollouts: job.rl.reward != RewardSource::Preferences,
            // The first step draws with the start itself.
            versions: job.rl.steps > 1,
            average: job.rl.ema_decay.is_some(),
        };
        let name = "while the policy learns";
        stages.push(sizes.training(name, loaded, &optimizers(job), beside));
    }
    let parts = vec![
        ("program", PROGRAM),
        ("models", loaded + sizes.policy),
        ("the last policy's weights", sizes.merged),
        ("keys and values", sizes.keys_and_values),
    ];
    stages.push(Stage { name: "while policies are compared", parts });
    stages
}

/// The optimisers of the networks that the policy's algorithm trains.
fn optimizers(job: &Job) -> Vec<OptimizerConfig> {
    match job.rl.algorithm() {
        Algorithm::Reinforce(config) => vec![config.policy, config.value],
        Algorithm::Ppo(config) => vec![config.policy, config.value],
        Algorithm::Rloo(config) => vec![config.policy],
        Algorithm::Grpo(config) => vec![config.policy],
        Algorithm::OnlineDpo(config) => vec![config.policy],
        Algorithm::Dpo(config) => vec![config.policy],
    }
}

/// What there is beside the networks in training.
#[derive(Debug, Clone, Copy, Default)]
struct Beside {
    /// An engine that draws rollouts.
    rollouts: bool,
    /// It draws with weights that training has made.
    versions: bool,
    /// An average of the policy's weights.
    average: bool,
}

/// Bytes of what stages are made of.
struct Sizes {
    policy: u64,
    labeler: u64,
    /// Of one network's trained parameters.
    trained: u64,
    /// Of the weights that are not the start's, once training is folded in.
    merged: u64,
    activations: u64,
    keys_and_values: u64,
}

impl Sizes {
    fn of(job: &Job, models: &Models) -> Self {
        let (policy, what) = (Footprint(&models.policy), trainable(job.lora.as_ref()));
        let engine = EngineOptions::default();
        let sequences = job.chunk_size.min(engine.max_sequences);
        let length = models.longest_prompt + job.sampling.max_new_tokens;
        let length = length.min(models.policy.max_position_embeddings);
        let drawn = (sequences * length).clamp(engine.max_batch_tokens, engine.max_kv_tokens);
        let asked = 2 * engine.max_batch_tokens;
        let labeler = models.labeler.as_ref();
        let tokens = job.rl.micro_batch_tokens.max(length);
        Self {
            policy: policy.weights(),
            labeler: labeler.map_or(0, |labeler| Footprint(labeler).weights()),
            trained: policy.trained(&what),
            merged: policy.merged(&what),
            activations: policy.activations(tokens, job.rl.gradient_checkpointing),
            keys_and_values: policy.keys_and_values(drawn)
                + Footprint(labeler.unwrap_or(&models.policy)).keys_and_values(asked),
        }
    }

    /// Training of one network for each optimiser, beside the models that are loaded and, if rollouts are drawn, the
    /// engine that draws them: when it makes a step, when it writes its state or the finished model, or when the
    /// engine takes up the next version, whichever takes most.
    fn training(
        &self,
        name: &'static str,
        loaded: u64,
        optimizers: &[impl Borrow<OptimizerConfig>],
        beside: Beside,
    ) -> Stage {
        let networks = optimizers.len() as u64;
        let moments: u64 = optimizers
            .iter()
            .map(|optimizer| match optimizer.borrow().kind {
                OptimizerKind::AdamW => 2 * self.trained,
                // A row and a column for each matrix.
                OptimizerKind::Adafactor => 0,
            })
            .sum();
        // Sums of earlier micro-batches beside the newest one's.
        let gradients = (networks + 1) * self.trained;
        // Each tensor as numbers, then all of them as a file.
        let average = if beside.average { self.trained } else { 0 };
        let state = 2 * (networks * self.trained + moments + average);
        let model = self.merged + self.policy;
        // Its bytes, its numbers, and the weights made of them.
        let drawn_with = if beside.versions { self.merged } else { 0 };
        let version = if beside.rollouts { 2 * self.trained + self.merged } else { 0 };
        let (step, moved) = (gradients + self.activations, state.max(model).max(version));
        let mut parts = vec![
            ("program", PROGRAM),
            ("models", loaded),
            ("trained weights", networks * self.trained + average),
            ("optimiser", moments),
        ];
        if beside.rollouts {
            parts.push(("weights that rollouts are drawn with", drawn_with));
            parts.push(("keys and values", self.keys_and_values));
        }
        match step >= moved {
            true => parts.extend([("gradients", gradients), ("activations", self.activations)]),
            false => parts.push(("what is written and read", moved)),
        }
        Stage { name, parts }
    }
}
