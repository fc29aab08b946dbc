//! An exponential moving average of what is trained (Polyak & Juditsky 1992): after each update
//! `average ← decay · average + (1 - decay) · weights`, from the start's weights on.
//!
//! Nothing learns from it: rollouts are drawn with the policy itself. It is what training leaves at the end.
//! Under LoRA the factors are averaged, not their product.

use crate::pairing::{Pairing, update_from};
use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::CausalLm;

/// Where the average is in a saved state.
pub const AVERAGE: &str = "policy_average";

/// The average of a policy's weights so far.
pub(crate) struct Average {
    decay: f64,
    pub(crate) model: CausalLm,
}

impl Average {
    /// Begins at `model`, whose trainable parameters are averaged.
    pub(crate) fn new(decay: f64, model: CausalLm) -> Self {
        Self { decay, model }
    }

    /// Takes in the policy after an update.
    pub(crate) fn observe(&mut self, policy: &CausalLm) {
        update_from(&mut self.model, policy, &Decayed(self.decay));
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        state.put_parameters(AVERAGE, &self.model);
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        state.load_parameters(AVERAGE, &mut self.model)
    }
}

/// `decay · average + (1 - decay) · weights`.
struct Decayed(f64);

impl Pairing for Decayed {
    fn pair<const D: usize>(&self, average: Tensor<D>, weights: Tensor<D>) -> Tensor<D> {
        average * self.0 as f32 + weights * (1.0 - self.0) as f32
    }
}
