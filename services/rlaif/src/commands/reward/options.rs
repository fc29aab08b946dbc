//! Options of training a reward model.

use crate::commands::model::ModelArgs;
use crate::memory::MemoryArgs;
use anyhow::{Result, bail};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use rlaif_job::RewardModelConfig;
use rlaif_types::{
    LabelSource, LoraConfig, OptimizerConfig, OptimizerKind, PairOrder, PairWeighting, Plateau,
    Precision, RewardObjective,
};
use std::path::PathBuf;

/// Reads whose labels are learned from.
pub fn label_source() -> impl TypedValueParser<Value = LabelSource> {
    let named = |name: String| LabelSource::ALL.into_iter().find(|s| s.as_str() == name);
    PossibleValuesParser::new(LabelSource::ALL.map(LabelSource::as_str))
        .map(move |name| named(name).expect("the parser accepts these names alone"))
}

#[derive(Clone, Copy, ValueEnum)]
enum Optimizer {
    Adamw,
    Adafactor,
}

#[derive(clap::Args)]
pub struct StudyArgs {
    /// Pairs with people's or a model's labels, in any format that `rlaif data` reads.
    #[arg(long = "in", value_name = "FILE")]
    pub input: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Put prompts through the model's chat template. Needed for conversations.
    #[arg(long)]
    pub chat: bool,
    /// Share of the prompts, with all their pairs, that is kept back to measure on.
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    heldout: f64,
    /// Seed of the split and of the order of pairs.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave out pairs of which prompt and longer response have more tokens; by default what the model's
    /// context does not hold.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,

    /// Passes over the pairs.
    #[arg(long, default_value_t = 2)]
    epochs: usize,
    /// Pairs in a step.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Learning rate; about ten times as much with --lora-rank.
    #[arg(long, default_value_t = 1e-5)]
    lr: f64,
    /// Steps over which the learning rate rises from 0.
    #[arg(long, value_name = "STEPS", default_value_t = 0)]
    warmup: usize,
    /// The rule that makes updates of gradients; the paper's is adafactor.
    #[arg(long, value_enum, default_value = "adamw")]
    optimizer: Optimizer,
    /// Train adapters of this rank beside frozen weights; by default all weights are trained.
    #[arg(long, value_name = "N")]
    lora_rank: Option<usize>,
    /// Adapters count alpha / rank; twice the rank by default.
    #[arg(long, value_name = "ALPHA", requires = "lora_rank")]
    lora_alpha: Option<f64>,
    /// Tokens in memory at once.
    #[arg(long, value_name = "N", default_value_t = 2048)]
    pub micro_batch_tokens: usize,
    /// Keep only what goes into each layer and compute the rest again for its gradients: the same bits in less
    /// memory and more time.
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// What is computed in: f32, or on a GPU bf16, with weights in f32 either way.
    #[arg(long, default_value_t)]
    pub precision: Precision,
    #[command(flatten)]
    pub memory: MemoryArgs,

    /// Ask for a difference of rewards that is larger by this times the record's "margin" (Llama 2).
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0)]
    margin: f64,
    /// Keep rewards around 0: adds this times (r_a + r_b)² to the loss; TRL's authors use 0.01.
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0)]
    center: f64,
    /// Learn soft labels as hard ones, all for the response that they prefer; one that prefers neither stays a half. What
    /// is held out keeps its labels.
    #[arg(long)]
    hard: bool,
    /// The first epoch goes from the surest labels to the least sure.
    #[arg(long)]
    easy_first: bool,
    /// A pair counts as much as this field of its record says: "weight" or "confidence", for example.
    #[arg(long, value_name = "FIELD")]
    weight_field: Option<String>,
    /// A pair counts as much as its label is sure: |2p - 1|, or people's place on the scale from 1 to 9.
    #[arg(long, conflicts_with = "weight_field")]
    weight_by_sureness: bool,
    /// Stop where the loss falls no further, looked at after so many steps on a tenth of the training pairs
    /// that is kept back for it.
    #[arg(long, value_name = "STEPS")]
    plateau_every: Option<usize>,
    /// Looks at the loss in a row that may show nothing better.
    #[arg(long, requires = "plateau_every", default_value_t = Plateau::default().patience)]
    patience: usize,
    /// By how much the loss must fall to be better, in nats a pair.
    #[arg(long, requires = "plateau_every", default_value_t = Plateau::default().min_delta)]
    min_delta: f64,
}

impl StudyArgs {
    /// The settings, as a job has them.
    ///
    /// # Errors
    /// When one makes no sense.
    pub fn config(&self) -> Result<RewardModelConfig> {
        let config = RewardModelConfig {
            harden: self.hard,
            heldout_fraction: self.heldout,
            epochs: self.epochs,
            batch_size: self.batch_size,
            optimizer: OptimizerConfig {
                kind: match self.optimizer {
                    Optimizer::Adamw => OptimizerKind::AdamW,
                    Optimizer::Adafactor => OptimizerKind::Adafactor,
                },
                lr: self.lr,
                warmup_steps: self.warmup,
                ..OptimizerConfig::default()
            },
            objective: RewardObjective { margin: self.margin, center: self.center },
            order: if self.easy_first { PairOrder::EasyFirst } else { PairOrder::Shuffled },
            weighting: match self.weight_by_sureness {
                true => PairWeighting::Sureness,
                false => PairWeighting::Equal,
            },
            weight_field: self.weight_field.clone(),
            plateau: self.plateau_every.map(|every_steps| Plateau {
                every_steps,
                patience: self.patience,
                min_delta: self.min_delta,
                ..Plateau::default()
            }),
            share_prompts: true,
            ..RewardModelConfig::default()
        };
        let mut problems = config.problems();
        problems.check_positive("micro-batch-tokens", self.micro_batch_tokens);
        problems.check(self.heldout > 0.0, "heldout", "must be above 0: what else to measure on?");
        if let Some(rank) = self.lora_rank {
            problems.check_positive("lora-rank", rank);
        }
        match problems.is_empty() {
            true => Ok(config),
            false => bail!("{problems}"),
        }
    }

    /// The adapters; none where all weights are trained.
    pub fn lora(&self) -> Option<LoraConfig> {
        let rank = self.lora_rank?;
        let alpha = self.lora_alpha.unwrap_or(2.0 * rank as f64);
        Some(LoraConfig { rank, alpha, seed: self.seed, ..LoraConfig::default() })
    }
}
