//! Optimisers with learning-rate warm-up and gradient clipping.
//!
//! State is keyed by parameter name and can be taken out and put back exactly, which is what makes
//! a resumed run equal to one that was never stopped.

mod adafactor;
mod adamw;

use crate::gradients::GradientSum;
use crate::halt::{Halt, Weights, check_finite};
use crate::state::{StateError, TrainerState};
use burn::tensor::{Device, Tensor};
use rlaif_models::kernels::is_fused;
use rlaif_models::{ParamMut, Parameters};
use rlaif_types::{OptimizerConfig, OptimizerKind};
use std::collections::BTreeMap;

/// An optimiser in use.
pub struct Optimizer {
    config: OptimizerConfig,
    step: u64,
    /// Named tensors such as `model.norm.weight#m`.
    state: BTreeMap<String, Tensor<2>>,
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInfo {
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub lr: f64,
}

impl Optimizer {
    /// A fresh optimiser.
    pub fn new(config: OptimizerConfig) -> Self {
        Self { config, step: 0, state: BTreeMap::new() }
    }

    /// Clips `grads` and updates every trainable parameter of `model` that one reached. `what` names
    /// the gradient's norm in complaints.
    ///
    /// # Errors
    /// When the norm is no finite number; nothing has changed then.
    pub fn step(
        &mut self,
        what: &'static str,
        model: &mut (impl Parameters + Weights),
        mut grads: GradientSum,
    ) -> Result<StepInfo, Halt> {
        let grad_norm = grads.global_norm();
        check_finite(what, grad_norm, model)?;
        self.step += 1;
        let warm = self.config.warmup_steps as f64;
        let lr = self.config.lr * (self.step as f64 / (warm + 1.0)).min(1.0);
        let grad_scale = (self.config.max_grad_norm / grad_norm).min(1.0);
        model.map_trainable(&mut |name, param| {
            let Some(grad) = grads.take(name) else { return };
            match param {
                ParamMut::Matrix(m) => {
                    let updated = self.update(name, take(m), grad, lr, grad_scale);
                    *m = Tensor::from_inner(updated).require_grad();
                }
                ParamMut::Vector(v) => {
                    let updated = self.update(name, take(v).unsqueeze(), grad, lr, grad_scale);
                    *v = Tensor::from_inner(updated.squeeze_dim(0)).require_grad();
                }
            }
        });
        Ok(StepInfo { grad_norm, lr })
    }

    fn update(
        &mut self,
        name: &str,
        weight: Tensor<2>,
        grad: Tensor<2>,
        lr: f64,
        grad_scale: f64,
    ) -> Tensor<2> {
        if self.config.kind == OptimizerKind::AdamW && is_fused(&weight) {
            return self.adamw_in_place(name, weight, grad, lr, grad_scale);
        }
        let decayed = match self.config.weight_decay {
            0.0 => weight,
            decay => weight * (1.0 - lr * decay) as f32,
        };
        let grad = grad * grad_scale as f32;
        let direction = match self.config.kind {
            OptimizerKind::AdamW => self.adamw(name, grad),
            OptimizerKind::Adafactor => self.adafactor(name, grad),
        };
        decayed - direction * lr as f32
    }

    /// A state tensor, zero at first.
    fn take_state(&mut self, key: &str, shape: [usize; 2], device: &Device) -> Tensor<2> {
        self.state.remove(key).unwrap_or_else(|| Tensor::zeros(shape, device))
    }

    /// Adds everything a later [`Optimizer::load`] needs to `state`, under `prefix`.
    pub fn save(&self, prefix: &str, state: &mut TrainerState) {
        state.put_number(&format!("{prefix}.step"), self.step);
        for (name, tensor) in &self.state {
            state.put_tensor(&format!("{prefix}.{name}"), tensor);
        }
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is not one of an optimiser under this prefix.
    pub fn load(
        &mut self,
        prefix: &str,
        state: &TrainerState,
        device: &Device,
    ) -> Result<(), StateError> {
        self.step = state.number(&format!("{prefix}.step"))?;
        self.state = state.matrices_under(&format!("{prefix}."), device)?;
        Ok(())
    }
}

/// The value of a parameter that is about to be replaced, off the tape; its memory may be reused.
fn take<const D: usize>(parameter: &mut Tensor<D>) -> Tensor<D> {
    let placeholder = Tensor::zeros([1; D], &parameter.device());
    std::mem::replace(parameter, placeholder).no_grad()
}
