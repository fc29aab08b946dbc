//! Supervised fine-tuning: maximum likelihood of given completions (paper section 3).

use crate::halt::{Halt, check_finite};
use crate::loss::negative_log_likelihood;
use crate::micro_batch::micro_batches;
use crate::optimizer::Optimizer;
use crate::replicas::Replicas;
use crate::response_batch::ResponseBatch;
use crate::state::{StateError, TrainerState};
use rlaif_models::CausalLm;
use rlaif_types::OptimizerConfig;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A prompt and the completion to learn, in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demonstration {
    /// Read, not learned.
    pub prompt: Vec<u32>,
    /// Learned, its end-of-text token included.
    pub completion: Vec<u32>,
}

/// What one step measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SftMetrics {
    /// Negative log-likelihood per completion token, before the step.
    pub loss: f64,
    /// Completion tokens.
    pub tokens: usize,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    #[serde(rename = "learning_rate")]
    pub lr: f64,
}

/// A model being fine-tuned.
pub struct SftTrainer {
    /// The model, with its trainable parameters on the tape.
    pub model: CausalLm,
    replicas: Replicas<CausalLm>,
    optimizer: Optimizer,
    micro_batch_tokens: usize,
}

impl SftTrainer {
    /// Trains the trainable parameters of `model`, at most `micro_batch_tokens` in memory at once.
    pub fn new(model: CausalLm, optimizer: OptimizerConfig, micro_batch_tokens: usize) -> Self {
        let (replicas, optimizer) = (Replicas::new([]), Optimizer::new(optimizer));
        Self { model, replicas, optimizer, micro_batch_tokens }
    }

    /// The same trainer, which shares micro-batches with `replicas`: the model on further devices.
    #[must_use]
    pub fn with_replicas(self, replicas: impl IntoIterator<Item = CausalLm>) -> Self {
        Self { replicas: Replicas::new(replicas), ..self }
    }

    /// One step on a batch.
    ///
    /// # Errors
    /// When loss or gradient is no finite number.
    ///
    /// # Panics
    /// When the batch, a prompt or a completion is empty.
    pub fn step(&mut self, batch: &[Demonstration]) -> Result<SftMetrics, Halt> {
        let tokens: usize = batch.iter().map(|d| d.completion.len()).sum();
        assert!(tokens > 0, "an empty batch has no loss");
        let lengths: Vec<usize> =
            batch.iter().map(|d| d.prompt.len() + d.completion.len()).collect();
        let nll = |model: &CausalLm, piece: &Range<usize>| {
            let pairs = batch[piece.clone()].iter().map(|d| (&d.prompt[..], &d.completion[..]));
            let packed = ResponseBatch::new(pairs);
            let hidden = model.forward(&packed.batch);
            let logprobs = model.token_logprobs(hidden, &packed.rows, &packed.targets, 1.0);
            (negative_log_likelihood(logprobs) / tokens as f32, ())
        };
        let (pieces, mut loss) = (micro_batches(&lengths, self.micro_batch_tokens), 0.0);
        let grads = self.replicas.gradients(&self.model, &pieces, nll, |_, nll, ()| loss += nll);
        check_finite("the loss", loss, &self.model)?;
        let info = self.optimizer.step("the norm of the gradient", &mut self.model, grads)?;
        self.replicas.follow(&self.model);
        Ok(SftMetrics { loss, tokens, grad_norm: info.grad_norm, lr: info.lr })
    }

    /// Everything a later [`SftTrainer::load`] needs to go on exactly.
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
        self.optimizer.load("optimizer", state, &self.model.device())
    }
}
