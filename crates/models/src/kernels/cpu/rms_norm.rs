//! Root-mean-square normalisation over rows: `y = x / sqrt(mean(x²) + eps) · w`.

use super::math::{axpy, sum_of_squares};
use super::simd::vectorised;
use rayon::prelude::*;

/// Rows a task takes, so that a task outweighs its scheduling.
const ROWS_PER_TASK: usize = 32;

/// Normalises each row of `x` (`[rows, w.len()]`).
pub fn forward(x: &[f32], w: &[f32], eps: f32) -> Vec<f32> {
    let width = w.len();
    let mut out = vec![0f32; x.len()];
    let task = ROWS_PER_TASK * width;
    out.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(out, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let scale = inverse_rms(x, eps);
                    for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
                        *out = x * scale * w;
                    }
                }
            },
        );
    });
    out
}

/// Gradients towards `x` and, where `weight_too`, towards `w`.
pub fn backward(
    x: &[f32],
    w: &[f32],
    eps: f32,
    grad: &[f32],
    weight_too: bool,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let width = w.len();
    let mut dx = vec![0f32; x.len()];
    let task = ROWS_PER_TASK * width;
    dx.par_chunks_mut(task).zip(x.par_chunks(task)).zip(grad.par_chunks(task)).for_each(
        |((dx, x), grad)| {
            vectorised(
                #[inline(always)]
                || {
                    let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for ((dx, x), grad) in rows.zip(grad.chunks_exact(width)) {
                        // With s = 1/rms: dx = s · (g·w - x · s² · mean(g·w·x)).
                        let s = inverse_rms(x, eps);
                        for ((dx, grad), w) in dx.iter_mut().zip(grad).zip(w) {
                            *dx = grad * w;
                        }
                        let mean = super::math::dot(dx, x) / width as f32;
                        let pull = s * s * mean;
                        for (dx, x) in dx.iter_mut().zip(x) {
                            *dx = s * (*dx - x * pull);
                        }
                    }
                },
            );
        },
    );
    let dw = weight_too.then(|| weight_gradient(x, width, eps, grad));
    (dx, dw)
}

/// `dw = Σ_rows grad · x / rms(x)`, in row order so that the sum is reproducible.
fn weight_gradient(x: &[f32], width: usize, eps: f32, grad: &[f32]) -> Vec<f32> {
    let mut dw = vec![0f32; width];
    let mut normalised = vec![0f32; width];
    vectorised(
        #[inline(always)]
        || {
            for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
                for ((n, x), grad) in normalised.iter_mut().zip(x).zip(grad) {
                    *n = x * grad;
                }
                axpy(inverse_rms(x, eps), &normalised, &mut dw);
            }
        },
    );
    dw
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_squares(x) / x.len() as f32 + eps).sqrt()
}
