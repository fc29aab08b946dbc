//! An exponential moving average of what is trained (Polyak & Juditsky 1992): after each update
//! `average ← decay · average + (1 - decay) · weights`, from the start's weights on.
//!
//! Nothing learns from it: rollouts are drawn with the policy itself. It is what training leaves at the end.
//! Under LoRA the factors are averaged, not their product.

use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::{CausalLm, ParamMut, ParamRef, Parameters};

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
        let (old, new) = (self.decay as f32, (1.0 - self.decay) as f32);
        let mut matrices = Vec::new();
        let mut vectors = Vec::new();
        policy.visit_trainable(&mut |_, param| match param {
            ParamRef::Matrix(m) => matrices.push(m.clone().inner()),
            ParamRef::Vector(v) => vectors.push(v.clone().inner()),
        });
        // Both models are visited in the same order.
        let (mut matrices, mut vectors) = (matrices.into_iter(), vectors.into_iter());
        self.model.map_trainable(&mut |_, param| match param {
            ParamMut::Matrix(m) => {
                let weights = matrices.next().expect("the average has the policy's matrices");
                *m = mixed(m.clone(), old, weights, new);
            }
            ParamMut::Vector(v) => {
                let weights = vectors.next().expect("the average has the policy's vectors");
                *v = mixed(v.clone(), old, weights, new);
            }
        });
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        state.put_parameters(AVERAGE, &self.model);
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        state.load_parameters(AVERAGE, &mut self.model)
    }
}

fn mixed<const D: usize>(average: Tensor<D>, old: f32, weights: Tensor<D>, new: f32) -> Tensor<D> {
    Tensor::from_inner(average.inner() * old + weights * new).require_grad()
}
