//! The gate of the feed-forward layer: `silu(gate) · up` with `silu(g) = g / (1 + e^-g)`.

use super::math::exp;
use super::simd::vectorised;
use rayon::prelude::*;

/// Elements a task takes.
const TASK: usize = 16 * 1024;

/// `silu(gate) · up`, element by element.
pub fn forward(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; gate.len()];
    out.par_chunks_mut(TASK).zip(gate.par_chunks(TASK)).zip(up.par_chunks(TASK)).for_each(
        |((out, gate), up)| {
            vectorised(
                #[inline(always)]
                || {
                    for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
                        *out = g * sigmoid(*g) * u;
                    }
                },
            );
        },
    );
    out
}

/// Gradients towards `gate` and `up`.
pub fn backward(gate: &[f32], up: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut dgate = vec![0f32; gate.len()];
    let mut dup = vec![0f32; gate.len()];
    dgate
        .par_chunks_mut(TASK)
        .zip(dup.par_chunks_mut(TASK))
        .zip(gate.par_chunks(TASK).zip(up.par_chunks(TASK)).zip(grad.par_chunks(TASK)))
        .for_each(|((dgate, dup), ((gate, up), grad))| {
            vectorised(
                #[inline(always)]
                || {
                    let outs = dgate.iter_mut().zip(dup.iter_mut());
                    for ((dg, du), ((g, u), grad)) in outs.zip(gate.iter().zip(up).zip(grad)) {
                        let s = sigmoid(*g);
                        *du = grad * g * s;
                        *dg = grad * u * s * (1.0 + g * (1.0 - s));
                    }
                },
            );
        });
    (dgate, dup)
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
