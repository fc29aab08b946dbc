//! The policy in training, and the frozen start that it is held to.

use crate::algorithm::Setup;
use crate::average::Average;
use crate::gradients::GradientSum;
use crate::halt::Halt;
use crate::micro_batch::micro_batches;
use crate::optimizer::{Optimizer, StepInfo};
use crate::replicas::Replicas;
use crate::response_batch::ResponseBatch;
use crate::state::{StateError, TrainerState};
use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::CausalLm;
use rlaif_types::OptimizerConfig;
use std::ops::Range;

/// A prompt and a response, in tokens.
pub(crate) type Response<'a> = (&'a [u32], &'a [u32]);

/// Responses that are in memory together.
pub(crate) struct Piece {
    /// Which of a list they are.
    pub(crate) members: Range<usize>,
    /// Their tokens.
    pub(crate) packed: ResponseBatch,
}

/// The policy in training.
pub(crate) struct Actor {
    /// With its trainable parameters on the tape.
    pub(crate) policy: CausalLm,
    reference: CausalLm,
    /// Both on further devices.
    policies: Replicas<CausalLm>,
    references: Replicas<CausalLm>,
    /// Of the policy's weights, where one is wanted.
    average: Option<Average>,
    optimizer: Optimizer,
    temperature: f32,
    micro_batch_tokens: usize,
}

impl Actor {
    pub(crate) fn new(setup: &Setup<'_>, optimizer: OptimizerConfig) -> Self {
        let policy = setup.start.trainable(setup.trainable);
        let average = setup.learning.ema_decay;
        Self {
            average: average.map(|decay| Average::new(decay, policy.clone())),
            policy,
            policies: Replicas::new(setup.replicas.iter().map(|r| r.trainable(setup.trainable))),
            reference: setup.start.frozen(),
            references: Replicas::new(setup.replicas.iter().map(CausalLm::frozen)),
            optimizer: Optimizer::new(optimizer),
            temperature: setup.learning.temperature,
            micro_batch_tokens: setup.micro_batch_tokens,
        }
    }

    /// Splits responses into what fits the memory.
    pub(crate) fn pieces(&self, responses: &[Response<'_>]) -> Vec<Piece> {
        let lengths: Vec<usize> = responses.iter().map(|(p, r)| p.len() + r.len()).collect();
        let split = micro_batches(&lengths, self.micro_batch_tokens);
        split.into_iter().map(|members| piece(responses, members)).collect()
    }

    /// As [`Actor::pieces`], never parting the two of a pair that follow each other.
    pub(crate) fn pieces_of_pairs(&self, responses: &[Response<'_>]) -> Vec<Piece> {
        let lengths: Vec<usize> = responses
            .chunks_exact(2)
            .map(|pair| pair.iter().map(|(prompt, response)| prompt.len() + response.len()).sum())
            .collect();
        let pairs = micro_batches(&lengths, self.micro_batch_tokens);
        pairs.into_iter().map(|p| piece(responses, 2 * p.start..2 * p.end)).collect()
    }

    /// The gradient of the losses that `loss` makes of pieces with the policy, and what it saw of each, to `took` in
    /// their order.
    pub(crate) fn gradients<T: Send>(
        &self,
        pieces: &[Piece],
        loss: impl Fn(&CausalLm, &Piece) -> (Tensor<1>, T) + Sync,
        took: impl FnMut(&Piece, f64, T),
    ) -> GradientSum {
        self.policies.gradients(&self.policy, pieces, loss, took)
    }

    /// Log-probabilities of each response's tokens under the reference.
    pub(crate) fn reference_logprobs(&self, pieces: &[Piece]) -> Vec<Vec<f32>> {
        let of = |model: &CausalLm, piece: &Piece| {
            piece.packed.split(&host(self.logprobs(model, &piece.packed)))
        };
        self.references.map(&self.reference, pieces, of).concat()
    }

    /// As [`Actor::reference_logprobs`], under the policy, which learns nothing from it.
    pub(crate) fn policy_logprobs(&self, pieces: &[Piece]) -> Vec<Vec<f32>> {
        let of = |model: &CausalLm, piece: &Piece| {
            piece.packed.split(&host(self.logprobs(model, &piece.packed).inner()))
        };
        self.policies.map(&self.policy, pieces, of).concat()
    }

    /// Log-probabilities of all response tokens under a model, `[tokens]`.
    pub(crate) fn logprobs(&self, model: &CausalLm, packed: &ResponseBatch) -> Tensor<1> {
        let hidden = model.forward(&packed.batch);
        model.token_logprobs(hidden, &packed.rows, &packed.targets, self.temperature)
    }

    /// Updates the policy.
    pub(crate) fn update(&mut self, grads: GradientSum) -> Result<StepInfo, Halt> {
        let what = "the norm of the policy's gradient";
        let info = self.optimizer.step(what, &mut self.policy, grads)?;
        self.policies.follow(&self.policy);
        if let Some(average) = &mut self.average {
            average.observe(&self.policy);
        }
        Ok(info)
    }

    /// What training leaves.
    pub(crate) fn trained(&self) -> &CausalLm {
        self.average.as_ref().map_or(&self.policy, |average| &average.model)
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        state.put_parameters("policy", &self.policy);
        if let Some(average) = &self.average {
            average.save(state);
        }
        self.optimizer.save("policy_optimizer", state);
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        let device = self.policy.device();
        state.load_parameters("policy", &mut self.policy)?;
        self.policies.follow(&self.policy);
        if let Some(average) = &mut self.average {
            average.load(state)?;
        }
        self.optimizer.load("policy_optimizer", state, &device)
    }
}

fn piece(responses: &[Response<'_>], members: Range<usize>) -> Piece {
    let packed = ResponseBatch::new(responses[members.clone()].iter().copied());
    Piece { members, packed }
}
