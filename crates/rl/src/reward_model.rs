//! The reward model: a scalar head that learns to predict soft labels (paper section 2).

use crate::gradients::GradientSum;
use crate::halt::{Halt, check_finite};
use crate::loss::soft_label_cross_entropy;
use crate::micro_batch::micro_batches;
use crate::optimizer::Optimizer;
use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::{PackedBatch, ScalarModel};
use rlaif_types::{OptimizerConfig, SoftLabel};
use serde::{Deserialize, Serialize};

/// Two candidates, each with its prompt before it, in tokens, and the labeler's preference.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledPair {
    /// Prompt and candidate A.
    pub a: Vec<u32>,
    /// Prompt and candidate B.
    pub b: Vec<u32>,
    /// Probability that A is preferred.
    pub label: SoftLabel,
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
}

/// What one step measured, before it changed the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardMetrics {
    /// Cross-entropy per pair.
    pub loss: f64,
    /// Share of pairs ranked as labelled; ties of the label are left out.
    pub accuracy: f64,
    /// Mean reward of all candidates.
    pub reward_mean: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub lr: f64,
}

/// A reward model being trained.
pub struct RewardTrainer {
    /// The model, with its trainable parameters on the tape.
    pub model: ScalarModel,
    optimizer: Optimizer,
    micro_batch_tokens: usize,
}

impl RewardTrainer {
    /// Trains the trainable parameters of `model`, at most `micro_batch_tokens` in memory at once.
    pub fn new(model: ScalarModel, optimizer: OptimizerConfig, micro_batch_tokens: usize) -> Self {
        Self { model, optimizer: Optimizer::new(optimizer), micro_batch_tokens }
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
        let lengths: Vec<usize> = batch.iter().map(|p| p.a.len() + p.b.len()).collect();
        let (mut grads, mut loss) = (GradientSum::default(), 0.0);
        let mut scores = Vec::new();
        for piece in micro_batches(&lengths, self.micro_batch_tokens) {
            let pairs = &batch[piece];
            let (a, b) = forward(&self.model, pairs);
            let labels: Vec<SoftLabel> = pairs.iter().map(|p| p.label).collect();
            let cross_entropy =
                soft_label_cross_entropy(a.clone(), b.clone(), &labels) / batch.len() as f32;
            loss += f64::from(cross_entropy.clone().into_scalar::<f32>());
            grads.add(&self.model, &cross_entropy.backward());
            scores.extend(pair_scores(a.inner(), b.inner()));
        }
        check_finite("the loss", loss, &self.model)?;
        let info = self.optimizer.step("the norm of the gradient", &mut self.model, grads)?;
        let total: f64 = scores.iter().map(|s| f64::from(s.a) + f64::from(s.b)).sum();
        Ok(RewardMetrics {
            loss,
            accuracy: accuracy(&scores, batch),
            reward_mean: total / (2 * scores.len()) as f64,
            grad_norm: info.grad_norm,
            lr: info.lr,
        })
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
        self.optimizer.load("optimizer", state, &self.model.backbone.device())
    }
}

/// Rewards of all A candidates and all B candidates, `[pairs]` each.
fn forward(model: &ScalarModel, pairs: &[LabelledPair]) -> (Tensor<1>, Tensor<1>) {
    let sequences: Vec<Vec<u32>> =
        pairs.iter().map(|p| p.a.clone()).chain(pairs.iter().map(|p| p.b.clone())).collect();
    let rewards = model.forward_last(&PackedBatch::from_sequences(&sequences));
    let (a, b) = (rewards.clone(), rewards);
    (a.narrow(0, 0, pairs.len()), b.narrow(0, pairs.len(), pairs.len()))
}

fn pair_scores(a: Tensor<1>, b: Tensor<1>) -> Vec<PairScores> {
    let values = |t: Tensor<1>| t.into_data().into_vec::<f32>().expect("rewards are f32");
    values(a).into_iter().zip(values(b)).map(|(a, b)| PairScores { a, b }).collect()
}

/// Share of pairs whose order the scores agree with; ties of the label are left out.
fn accuracy(scores: &[PairScores], pairs: &[LabelledPair]) -> f64 {
    let decided = scores.iter().zip(pairs).filter(|(_, pair)| pair.label.value() != 0.5);
    let (mut right, mut all) = (0, 0);
    for (score, pair) in decided {
        all += 1;
        right += usize::from((score.a > score.b) == pair.label.prefers_a());
    }
    if all == 0 { f64::NAN } else { f64::from(right as u32) / f64::from(all as u32) }
}
