//! Log-probabilities of chosen tokens, without keeping `[rows, vocab]` logits.

use super::linear::{add_matmul_tn, matmul, matmul_t};
use super::math::{exp, log_sum_exp};
use super::simd::vectorised;
use rayon::prelude::*;

/// Rows whose logits exist at one time: 64 rows of a 50k vocabulary are 13 MB.
const ROWS: usize = 64;

/// One head product: hidden rows, head weight, and the token wanted at each row.
pub struct Query<'a> {
    /// `[rows, width]`.
    pub hidden: &'a [f32],
    /// `[vocab, width]`.
    pub weight: &'a [f32],
    /// One token per row.
    pub targets: &'a [u32],
    /// Width of a hidden row.
    pub width: usize,
    /// Logits are divided by the temperature before the softmax.
    pub inverse_temperature: f32,
}

impl Query<'_> {
    fn vocab(&self) -> usize {
        self.weight.len() / self.width
    }

    /// Calls `f(first_row, targets, logits)` for each block of rows.
    fn for_each_block(&self, mut f: impl FnMut(usize, &[u32], Vec<f32>)) {
        for (block, targets) in self.targets.chunks(ROWS).enumerate() {
            let first = block * ROWS;
            let hidden = &self.hidden[first * self.width..(first + targets.len()) * self.width];
            let logits = matmul_t(hidden, self.weight, targets.len(), self.vocab(), self.width);
            f(first, targets, logits);
        }
    }

    /// `log softmax(logits / temperature)[target]` of each row.
    pub fn logprobs(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.targets.len());
        self.for_each_block(|_, targets, logits| {
            out.par_extend(
                logits
                    .par_chunks_exact(self.vocab())
                    .zip(targets)
                    .map(|(logits, target)| self.logprob(logits, *target)),
            );
        });
        out
    }

    /// Log-probabilities, and for each row the gradient of its own log-probability towards its
    /// hidden row. The upstream gradient of a row is a scalar, so `dhidden = g · this` later on,
    /// and nothing of size `[rows, vocab]` has to survive until the backward pass.
    pub fn logprobs_and_hidden_gradient(&self) -> (Vec<f32>, Vec<f32>) {
        let mut logprobs = Vec::with_capacity(self.targets.len());
        let mut gradient = Vec::with_capacity(self.hidden.len());
        self.for_each_block(|_, targets, mut logits| {
            logprobs.par_extend(logits.par_chunks_exact_mut(self.vocab()).zip(targets).map(
                |(logits, target)| {
                    let logprob = self.logprob(logits, *target);
                    self.to_gradient(logits, *target, 1.0);
                    logprob
                },
            ));
            gradient.extend(matmul(&logits, self.weight, targets.len(), self.vocab(), self.width));
        });
        (logprobs, gradient)
    }

    /// Gradient towards the head's weight for upstream gradients `grad` (`[rows]`).
    pub fn weight_gradient(&self, grad: &[f32]) -> Vec<f32> {
        let mut dw = vec![0f32; self.weight.len()];
        self.for_each_block(|first, targets, mut logits| {
            let grad = &grad[first..first + targets.len()];
            logits
                .par_chunks_exact_mut(self.vocab())
                .zip(targets)
                .zip(grad)
                .for_each(|((logits, target), grad)| self.to_gradient(logits, *target, *grad));
            let rows = targets.len();
            let hidden = &self.hidden[first * self.width..(first + rows) * self.width];
            add_matmul_tn(&mut dw, &logits, hidden, rows, self.vocab(), self.width);
        });
        dw
    }

    fn logprob(&self, logits: &[f32], target: u32) -> f32 {
        let scale = self.inverse_temperature;
        let normaliser = vectorised(
            #[inline(always)]
            || log_sum_exp(logits, scale),
        );
        logits[target as usize] * scale - normaliser
    }

    /// Turns logits into `scale / T · (onehot(target) - softmax(logits / T))`.
    fn to_gradient(&self, logits: &mut [f32], target: u32, scale: f32) {
        let inverse_temperature = self.inverse_temperature;
        let factor = scale * inverse_temperature;
        vectorised(
            #[inline(always)]
            || {
                let normaliser = log_sum_exp(logits, inverse_temperature);
                for v in logits.iter_mut() {
                    *v = -factor * exp(v.mul_add(inverse_temperature, -normaliser));
                }
            },
        );
        logits[target as usize] += factor;
    }
}
