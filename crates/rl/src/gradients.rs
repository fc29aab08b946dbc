//! Gradients by parameter name, summed over micro-batches.

use burn::tensor::{Gradients, Tensor};
use rlaif_models::{ParamRef, Parameters};
use std::collections::BTreeMap;

/// Sums of gradients. A vector's is held as a matrix of one row.
#[derive(Default)]
pub struct GradientSum(BTreeMap<String, Tensor<2>>);

impl GradientSum {
    /// Adds the gradients of one backward pass.
    pub fn add(&mut self, model: &impl Parameters, grads: &Gradients) {
        model.visit_trainable(&mut |name, param| {
            let grad = match param {
                ParamRef::Matrix(m) => m.grad(grads),
                ParamRef::Vector(v) => v.grad(grads).map(Tensor::unsqueeze),
            };
            let Some(grad) = grad else { return };
            let sum = match self.0.remove(name) {
                Some(sum) => sum + grad,
                None => grad,
            };
            self.0.insert(name.to_owned(), sum);
        });
    }

    /// Square root of the sum of all squares.
    pub fn global_norm(&self) -> f64 {
        let squares =
            self.0.values().map(|g| f64::from((g.clone() * g.clone()).sum().into_scalar::<f32>()));
        squares.sum::<f64>().sqrt()
    }

    /// Scales all gradients so that their norm is at most `max_norm`; returns the norm before.
    pub fn clip(&mut self, max_norm: f64) -> f64 {
        let norm = self.global_norm();
        if norm > max_norm {
            let factor = (max_norm / norm) as f32;
            self.0.values_mut().for_each(|g| *g = g.clone() * factor);
        }
        norm
    }

    /// The gradient of a parameter, where one reached it.
    pub fn get(&self, name: &str) -> Option<&Tensor<2>> {
        self.0.get(name)
    }
}
