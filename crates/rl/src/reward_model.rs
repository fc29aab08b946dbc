//! The reward model: a scalar head that learns to predict soft labels (paper section 2).

use crate::halt::{Halt, check_finite};
use crate::micro_batch::micro_batches;
use crate::optimizer::Optimizer;
use crate::replicas::Replicas;
use crate::reward_objective::reward_loss;
use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::{PackedBatch, ScalarModel, shared_prefix};
use rlaif_types::{OptimizerConfig, RewardObjective, SoftLabel};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Two candidates, each with its prompt before it, in tokens, and the labeler's preference.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledPair {
    /// Prompt and candidate A.
    pub a: Vec<u32>,
    /// Prompt and candidate B.
    pub b: Vec<u32>,
    /// Probability that A is preferred.
    pub label: SoftLabel,
    /// How much the pair counts in the mean over a batch; 1 where all count alike.
    pub weight: f32,
    /// By how much A is better, negative where B is; 0 where nobody said. It matters where the
    /// objective gives margins a weight.
    pub margin: f32,
}

impl LabelledPair {
    /// A pair that counts as much as every other, with no margin.
    pub fn new(a: Vec<u32>, b: Vec<u32>, label: SoftLabel) -> Self {
        Self { a, b, label, weight: 1.0, margin: 0.0 }
    }
}

/// Rewards of a pair's candidates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairScores {
    /// Of A.
    pub a: f32,
    /// Of B.
    pub b: f32,
}

impl PairScores {
    /// The model's probability that A is preferred.
    pub fn prefers_a(self) -> f64 {
        1.0 / (1.0 + f64::from(self.b - self.a).exp())
    }

    /// What `pair` adds to what is minimised, in nats, where these are its rewards.
    pub fn loss(self, objective: &RewardObjective, pair: &LabelledPair) -> f64 {
        let (a, b) = (f64::from(self.a), f64::from(self.b));
        let z = a - b - objective.margin * f64::from(pair.margin);
        // `-p log sigma(z) - (1 - p) log sigma(-z)`, written so that nothing overflows.
        let cross_entropy = z.max(0.0) - pair.label.value() * z + (-z.abs()).exp().ln_1p();
        f64::from(pair.weight) * cross_entropy + objective.center * (a + b).powi(2)
    }
}

/// What one step measured, before it changed the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardMetrics {
    /// What is minimised, per pair: cross-entropy, and what the objective adds to it.
    pub loss: f64,
    /// Share of pairs ranked as labelled; equal rewards are half right, ties of the label left out. None where every
    /// label is a tie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean reward of all candidates.
    #[serde(rename = "mean_reward")]
    pub reward_mean: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    #[serde(rename = "learning_rate")]
    pub lr: f64,
}

/// A reward model being trained.
pub struct RewardTrainer {
    /// The model, with its trainable parameters on the tape.
    pub model: ScalarModel,
    replicas: Replicas<ScalarModel>,
    optimizer: Optimizer,
    objective: RewardObjective,
    /// A pair's common beginning is computed once.
    share_prompts: bool,
    micro_batch_tokens: usize,
}

impl RewardTrainer {
    /// Trains the trainable parameters of `model`, at most `micro_batch_tokens` in memory at once.
    pub fn new(model: ScalarModel, optimizer: OptimizerConfig, micro_batch_tokens: usize) -> Self {
        Self {
            model,
            replicas: Replicas::new([]),
            optimizer: Optimizer::new(optimizer),
            objective: RewardObjective::default(),
            share_prompts: false,
            micro_batch_tokens,
        }
    }

    /// The same trainer, which shares micro-batches with `replicas`: the model on further devices.
    #[must_use]
    pub fn with_replicas(self, replicas: impl IntoIterator<Item = ScalarModel>) -> Self {
        Self { replicas: Replicas::new(replicas), ..self }
    }

    /// The same trainer of another objective than the plain cross-entropy.
    pub fn with_objective(self, objective: RewardObjective) -> Self {
        Self { objective, ..self }
    }

    /// The same trainer, which computes what both sequences of a pair begin with once if `share`: the same
    /// numbers but for the order of sums, in less time.
    pub fn sharing_prompts(self, share: bool) -> Self {
        Self { share_prompts: share, ..self }
    }

    /// One step on a batch.
    ///
    /// # Errors
    /// When loss or gradient is no finite number.
    ///
    /// # Panics
    /// When the batch or a sequence is empty.
    pub fn step(&mut self, batch: &[LabelledPair]) -> Result<RewardMetrics, Halt> {
        assert!(!batch.is_empty(), "an empty batch has no loss");
        let lengths = self.token_counts(batch);
        let preference = |model: &ScalarModel, piece: &Range<usize>| {
            let pairs = &batch[piece.clone()];
            let (a, b) = self.forward(model, pairs);
            let loss = reward_loss(&self.objective, a.clone(), b.clone(), pairs);
            (loss / batch.len() as f32, pair_scores(a.inner(), b.inner()))
        };
        let pieces = micro_batches(&lengths, self.micro_batch_tokens);
        let (mut loss, mut scores) = (0.0, Vec::new());
        let grads =
            self.replicas.gradients(&self.model, &pieces, preference, |_, piece_loss, seen| {
                loss += piece_loss;
                scores.extend(seen);
            });
        check_finite("the loss", loss, &self.model)?;
        let info = self.optimizer.step("the norm of the gradient", &mut self.model, grads)?;
        self.replicas.follow(&self.model);
        let total: f64 = scores.iter().map(|s| f64::from(s.a) + f64::from(s.b)).sum();
        Ok(RewardMetrics {
            loss,
            accuracy: accuracy(&scores, batch),
            reward_mean: total / (2 * scores.len()) as f64,
            grad_norm: info.grad_norm,
            lr: info.lr,
        })
    }

    /// Rewards of pairs by the model as it is now, without learning from them.
    ///
    /// # Panics
    /// When a sequence is empty.
    pub fn scores(&self, pairs: &[LabelledPair]) -> Vec<PairScores> {
        let model = self.model.frozen();
        let lengths = self.token_counts(pairs);
        let pieces = micro_batches(&lengths, self.micro_batch_tokens).into_iter();
        let scored = pieces.flat_map(|piece| {
            let (a, b) = self.forward(&model, &pairs[piece]);
            pair_scores(a, b)
        });
        scored.collect()
    }

    /// Everything a later [`RewardTrainer::load`] needs to go on exactly.
    pub fn save(&self) -> TrainerState {
        let mut state = TrainerState::default();
        state.put_parameters("model", &self.model);
        self.optimizer.save("optimizer", &mut state);
        state
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another model or method.
    pub fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        state.load_parameters("model", &mut self.model)?;
        self.replicas.follow(&self.model);
        self.optimizer.load("optimizer", state, &self.model.backbone.device())
    }

    /// Tokens that each pair takes.
    fn token_counts(&self, pairs: &[LabelledPair]) -> Vec<usize> {
        let shared = |pair: &LabelledPair| match self.share_prompts {
            true => shared_prefix(&pair.a, &pair.b),
            false => 0,
        };
        pairs.iter().map(|pair| pair.a.len() + pair.b.len() - shared(pair)).collect()
    }

    /// Rewards of all A candidates and all B candidates, `[pairs]` each.
    fn forward(&self, model: &ScalarModel, pairs: &[LabelledPair]) -> (Tensor<1>, Tensor<1>) {
        let rewards = if self.share_prompts {
            let sequences = pairs.iter().map(|pair| (&pair.a[..], &pair.b[..]));
            let batch = PackedBatch::from_pairs(sequences);
            let last = |part: usize| batch.spans().chunks_exact(3).map(move |s| s[part].end - 1);
            model.forward_rows(&batch, &last(1).chain(last(2)).collect::<Vec<usize>>())
        } else {
            let (a, b) = (pairs.iter().map(|p| p.a.clone()), pairs.iter().map(|p| p.b.clone()));
            let sequences: Vec<Vec<u32>> = a.chain(b).collect();
            model.forward_last(&PackedBatch::from_sequences(&sequences))
        };
        let (a, b) = (rewards.clone(), rewards);
        (a.narrow(0, 0, pairs.len()), b.narrow(0, pairs.len(), pairs.len()))
    }
}

fn pair_scores(a: Tensor<1>, b: Tensor<1>) -> Vec<PairScores> {
    let values = |t: Tensor<1>| t.into_data().into_vec::<f32>().expect("rewards are f32");
    values(a).into_iter().zip(values(b)).map(|(a, b)| PairScores { a, b }).collect()
}

/// See [`RewardMetrics::accuracy`].
fn accuracy(scores: &[PairScores], pairs: &[LabelledPair]) -> Option<f64> {
    let agreement = |(score, pair): (&PairScores, &LabelledPair)| {
        pair.label.agreement(score.a.into(), score.b.into())
    };
    let decided: Vec<f64> = scores.iter().zip(pairs).filter_map(agreement).collect();
    (!decided.is_empty()).then(|| decided.iter().sum::<f64>() / decided.len() as f64)
}
