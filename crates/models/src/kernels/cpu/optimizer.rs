//! What an optimiser does to a whole parameter, each in one pass over its memory.

use super::math;
use super::simd::vectorised;
use rayon::prelude::*;

/// Elements a task takes.
const TASK: usize = 64 * 1024;

/// `Σ x_i²`; the order of summation does not depend on the number of threads.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let parts: Vec<f32> = x
        .par_chunks(TASK)
        .map(|x| {
            vectorised(
                #[inline(always)]
                || math::sum_of_squares(x),
            )
        })
        .collect();
    parts.into_iter().map(f64::from).sum()
}

/// The factors of one AdamW step (Loshchilov & Hutter 2019).
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// `1 / (1 - beta1^t)`.
    pub m_scale: f32,
    /// `1 / (1 - beta2^t)`.
    pub v_scale: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Gradients are multiplied by this first; clipping by norm.
    pub grad_scale: f32,
}

impl AdamWStep {
    /// Updates `weight` and its moments `m` and `v`, all of one length.
    pub fn apply(&self, weight: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let step = *self;
        let moments = m.par_chunks_mut(TASK).zip(v.par_chunks_mut(TASK));
        weight.par_chunks_mut(TASK).zip(grad.par_chunks(TASK)).zip(moments).for_each(
            |((weight, grad), (m, v))| {
                vectorised(
                    #[inline(always)]
                    || step.apply_to_task(weight, grad, m, v),
                );
            },
        );
    }

    #[inline(always)]
    fn apply_to_task(&self, weight: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let keep = 1.0 - self.lr * self.weight_decay;
        for ((w, g), (m, v)) in weight.iter_mut().zip(grad).zip(m.iter_mut().zip(v.iter_mut())) {
            let g = g * self.grad_scale;
            *m = self.beta1.mul_add(*m, (1.0 - self.beta1) * g);
            *v = self.beta2.mul_add(*v, (1.0 - self.beta2) * g * g);
            let direction = *m * self.m_scale / ((*v * self.v_scale).sqrt() + self.epsilon);
            *w = keep * *w - self.lr * direction;
        }
    }
}
