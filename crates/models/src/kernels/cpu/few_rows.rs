//! A handful of rows against a weight: the product that decoding is made of.
//!
//! It is bound by reading the weight from memory, so the weight is read exactly once and never
//! packed; `gemm` packs first and reaches a fifth of the bandwidth here. The tiles are written
//! with explicit vectors: the compiler does not keep a nest of small arrays in registers by itself.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Input rows handled together: each load of a weight serves this many products.
const BATCH_TILE: usize = 4;

/// Weight rows handled together, the widest tile of any instruction set.
const ROW_TILE: usize = 4;

/// `x · wᵀ`: `x` is `[m, k]`, `w` is `[n, k]`, the result `[m, n]`.
pub fn few_rows(x: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    if m == 0 || n == 0 {
        return Vec::new();
    }
    // Columns of the result are made [n, m], so that each thread owns whole rows of it, and then
    // transposed; that is m·n values against the n·k of the weight.
    let mut transposed = vec![0f32; n * m];
    if k > 0 {
        let rows = n.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(ROW_TILE);
        let arch = Arch::new();
        transposed
            .par_chunks_mut(rows * m)
            .zip(w.par_chunks(rows * k))
            .for_each(|(out, w)| arch.dispatch(Product { x, w, out, m, k }));
    }
    if m == 1 {
        return transposed;
    }
    let mut out = vec![0f32; m * n];
    for (column, values) in transposed.chunks_exact(m).enumerate() {
        for (row, value) in values.iter().enumerate() {
            out[row * n + column] = *value;
        }
    }
    out
}

/// Some rows of the weight, `[rows, k]`, against all inputs `[m, k]`, into `[rows, m]`.
struct Product<'a> {
    x: &'a [f32],
    w: &'a [f32],
    out: &'a mut [f32],
    m: usize,
    k: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Four by four accumulators leave room for the operands in AVX-512's 32 registers; two by
        // four in the 16 of AVX2.
        if S::F32_LANES >= 16 {
            self.in_tiles_of::<S, 4>(simd);
        } else {
            self.in_tiles_of::<S, 2>(simd);
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn in_tiles_of<S: Simd, const R: usize>(self, simd: S) {
        let Self { x, w, out, m, k } = self;
        for (out, w) in out.chunks_mut(R * m).zip(w.chunks(R * k)) {
            if w.len() == R * k {
                weight_rows::<S, R>(simd, x, w, m, k, out);
            } else {
                for (out, w) in out.chunks_mut(m).zip(w.chunks(k)) {
                    weight_rows::<S, 1>(simd, x, w, m, k, out);
                }
            }
        }
    }
}

/// `R` rows of the weight against all `m` inputs; `out` is `[R, m]`.
#[inline(always)]
fn weight_rows<S: Simd, const R: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    m: usize,
    k: usize,
    out: &mut [f32],
) {
    let mut row = 0;
    while row + BATCH_TILE <= m {
        tile::<S, R, BATCH_TILE>(simd, &x[row * k..], w, k, &mut out[row..], m);
        row += BATCH_TILE;
    }
    match m - row {
        3 => tile::<S, R, 3>(simd, &x[row * k..], w, k, &mut out[row..], m),
        2 => tile::<S, R, 2>(simd, &x[row * k..], w, k, &mut out[row..], m),
        1 => tile::<S, R, 1>(simd, &x[row * k..], w, k, &mut out[row..], m),
        _ => {}
    }
}

/// An `R` by `B` tile of dot products of length `k`.
#[inline(always)]
fn tile<S: Simd, const R: usize, const B: usize>(
    simd: S,
    x: &[f32],
    w: &[f32],
    k: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    let xs: [_; B] = std::array::from_fn(|b| S::as_simd_f32s(&x[b * k..(b + 1) * k]));
    let ws: [_; R] = std::array::from_fn(|r| S::as_simd_f32s(&w[r * k..(r + 1) * k]));
    let vectors = k / S::F32_LANES;
    // One length for all, so that the checks of the loop below are done here once.
    let x_vectors: [&[S::f32s]; B] = std::array::from_fn(|b| &xs[b].0[..vectors]);
    let w_vectors: [&[S::f32s]; R] = std::array::from_fn(|r| &ws[r].0[..vectors]);
    let mut sums = [[simd.splat_f32s(0.0); B]; R];
    for i in 0..vectors {
        let x: [S::f32s; B] = std::array::from_fn(|b| x_vectors[b][i]);
        for r in 0..R {
            let w = w_vectors[r][i];
            for b in 0..B {
                sums[r][b] = simd.mul_add_e_f32s(w, x[b], sums[r][b]);
            }
        }
    }
    for r in 0..R {
        for b in 0..B {
            let rest = ws[r].1.iter().zip(xs[b].1);
            out[r * out_stride + b] =
                rest.fold(simd.reduce_sum_f32s(sums[r][b]), |sum, (w, x)| w.mul_add(*x, sum));
        }
    }
}
