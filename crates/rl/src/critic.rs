//! The value network: what return it expects at every token (paper section 3).

use crate::actor::Piece;
use crate::algorithm::Setup;
use crate::gradients::GradientSum;
use crate::halt::Halt;
use crate::optimizer::{Optimizer, StepInfo};
use crate::replicas::Replicas;
use crate::state::{StateError, TrainerState};
use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::{CausalLm, ScalarModel, Trainable};
use rlaif_types::{LoraConfig, OptimizerConfig};

/// A value network in training: a network of its own, begun at the policy's start.
pub(crate) struct Critic {
    /// With its trainable parameters on the tape.
    pub(crate) value: ScalarModel,
    /// On further devices.
    values: Replicas<ScalarModel>,
    optimizer: Optimizer,
}

impl Critic {
    pub(crate) fn new(setup: &Setup<'_>, optimizer: OptimizerConfig) -> Self {
        // Adapters of its own, not the policy's.
        let what = match setup.trainable {
            Trainable::Full => Trainable::Full,
            Trainable::Lora(lora) => {
                Trainable::Lora(LoraConfig { seed: lora.seed.wrapping_add(1), ..lora.clone() })
            }
        };
        let of = |start: &CausalLm| ScalarModel::zero(start.clone()).trainable(&what);
        Self {
            value: of(setup.start),
            values: Replicas::new(setup.replicas.iter().map(of)),
            optimizer: Optimizer::new(optimizer),
        }
    }

    /// The gradient of the losses that `loss` makes of values, which are before all response tokens of a piece,
    /// `[tokens]`; and what it saw of each piece, to `took` in their order.
    pub(crate) fn gradients<T: Send>(
        &self,
        pieces: &[Piece],
        loss: impl Fn(Tensor<1>, &Piece) -> (Tensor<1>, T) + Sync,
        took: impl FnMut(&Piece, f64, T),
    ) -> GradientSum {
        let of = |value: &ScalarModel, piece: &Piece| {
            let Piece { packed, .. } = piece;
            loss(value.forward_rows(&packed.batch, &packed.rows), piece)
        };
        self.values.gradients(&self.value, pieces, of, took)
    }

    /// Values before each response's tokens, as numbers.
    pub(crate) fn values_of(&self, pieces: &[Piece]) -> Vec<Vec<f32>> {
        let frozen = self.value.frozen();
        let values = |p: &Piece| host(frozen.forward_rows(&p.packed.batch, &p.packed.rows));
        pieces.iter().flat_map(|piece| piece.packed.split(&values(piece))).collect()
    }

    /// Updates the value network.
    pub(crate) fn update(&mut self, grads: GradientSum) -> Result<StepInfo, Halt> {
        let what = "the norm of the value network's gradient";
        let info = self.optimizer.step(what, &mut self.value, grads)?;
        self.values.follow(&self.value);
        Ok(info)
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        state.put_parameters("value", &self.value);
        self.optimizer.save("value_optimizer", state);
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        let device = self.value.backbone.device();
        state.load_parameters("value", &mut self.value)?;
        self.values.follow(&self.value);
        self.optimizer.load("value_optimizer", state, &device)
    }
}
