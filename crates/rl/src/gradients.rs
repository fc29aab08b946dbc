//! Gradients by parameter name, summed over micro-batches.

use crate::values::with_values;
use burn::tensor::Tensor;
use rlaif_models::kernels::cpu::optimizer::sum_of_squares;
use rlaif_models::kernels::is_fused;
use std::collections::BTreeMap;

/// Sums of gradients. A vector's is held as a matrix of one row.
#[derive(Default)]
pub struct GradientSum(BTreeMap<String, Tensor<2>>);

impl GradientSum {
    /// Adds gradients of one backward pass, by parameter.
    pub fn add(&mut self, grads: impl IntoIterator<Item = (String, Tensor<2>)>) {
        for (name, grad) in grads {
            let sum = match self.0.remove(&name) {
                Some(sum) => sum + grad,
                None => grad,
            };
            self.0.insert(name, sum);
        }
    }

    /// Square root of the sum of all squares.
    pub fn global_norm(&mut self) -> f64 {
        let squares = self.0.values_mut().map(|g| match is_fused(g) {
            true => with_values(g, |g| sum_of_squares(g)),
            false => f64::from((g.clone() * g.clone()).sum().into_scalar::<f32>()),
        });
        squares.sum::<f64>().sqrt()
    }

    /// Takes out the gradient of a parameter, where one reached it.
    pub fn take(&mut self, name: &str) -> Option<Tensor<2>> {
        self.0.remove(name)
    }
}
