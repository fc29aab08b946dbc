//! The value network: what return it expects at every token (paper section 3).

use crate::actor::Piece;
use crate::algorithm::Setup;
use crate::gradients::GradientSum;
use crate::halt::Halt;
use crate::optimizer::{Optimizer, StepInfo};
use crate::response_batch::ResponseBatch;
use crate::state::{StateError, TrainerState};
use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::ScalarModel;
use rlaif_types::OptimizerConfig;

/// A value network in training: a network of its own, begun at the policy's start.
pub(crate) struct Critic {
    /// With its trainable parameters on the tape.
    pub(crate) value: ScalarModel,
    optimizer: Optimizer,
}

impl Critic {
    pub(crate) fn new(setup: &Setup<'_>, optimizer: OptimizerConfig) -> Self {
        let value = ScalarModel::zero(setup.start.clone()).trainable(setup.trainable);
        Self { value, optimizer: Optimizer::new(optimizer) }
    }

    /// Values before all response tokens, on the tape, `[tokens]`.
    pub(crate) fn values(&self, packed: &ResponseBatch) -> Tensor<1> {
        self.value.forward_rows(&packed.batch, &packed.rows)
    }

    /// Values before each response's tokens, as numbers.
    pub(crate) fn values_of(&self, pieces: &[Piece]) -> Vec<Vec<f32>> {
        let frozen = self.value.frozen();
        let values = |p: &Piece| host(frozen.forward_rows(&p.packed.batch, &p.packed.rows));
        pieces.iter().flat_map(|piece| piece.packed.split(&values(piece))).collect()
    }

    /// Updates the value network.
    pub(crate) fn update(&mut self, grads: GradientSum) -> Result<StepInfo, Halt> {
        self.optimizer.step("the norm of the value network's gradient", &mut self.value, grads)
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        state.put_parameters("value", &self.value);
        self.optimizer.save("value_optimizer", state);
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        let device = self.value.backbone.device();
        state.load_parameters("value", &mut self.value)?;
        self.optimizer.load("value_optimizer", state, &device)
    }
}
