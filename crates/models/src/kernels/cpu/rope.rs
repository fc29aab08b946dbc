//! Rotary position embedding in HF's half-rotation layout: coordinate `i` of a head turns together
//! with coordinate `i + head_dim / 2`.

use super::simd::vectorised;
use rayon::prelude::*;

/// Rows a task takes.
const ROWS_PER_TASK: usize = 32;

/// Rotates each head of each row of `x` (`[rows, heads · head_dim]`) by that row's angles, or back
/// by them where `inverse`, which is the gradient.
///
/// `cos` and `sin` are `[rows, head_dim / 2]`.
pub fn rotate(x: &[f32], cos: &[f32], sin: &[f32], head_dim: usize, inverse: bool) -> Vec<f32> {
    let half = head_dim / 2;
    let rows = cos.len() / half;
    let mut out = x.to_vec();
    if rows == 0 {
        return out;
    }
    let width = x.len() / rows;
    let sign = if inverse { -1.0 } else { 1.0 };
    out.par_chunks_mut(ROWS_PER_TASK * width)
        .zip(cos.par_chunks(ROWS_PER_TASK * half))
        .zip(sin.par_chunks(ROWS_PER_TASK * half))
        .for_each(|((out, cos), sin)| {
            vectorised(
                #[inline(always)]
                || {
                    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
                    for (row, (cos, sin)) in out.chunks_exact_mut(width).zip(angles) {
                        for head in row.chunks_exact_mut(head_dim) {
                            let (low, high) = head.split_at_mut(half);
                            for i in 0..half {
                                let (a, b, s) = (low[i], high[i], sign * sin[i]);
                                low[i] = a * cos[i] - b * s;
                                high[i] = b * cos[i] + a * s;
                            }
                        }
                    }
                },
            );
        });
    out
}
