//! Dense products with a weight stored `[out, in]`, as checkpoints store them.
//!
//! Large batches go to `gemm`. A handful of rows, which is what decoding has, is bound by reading
//! the weight once from memory; `gemm` packs it first and reaches a fifth of the bandwidth there,
//! so [`few_rows`] streams it instead.

use super::math::LANES;
use super::simd::vectorised;
use rayon::prelude::*;

/// Up to this many rows, streaming the weight beats packing it (measured on 2 AVX-512 cores).
const FEW_ROWS: usize = 24;

/// Weight rows handled together by [`few_rows`]: each load of an input serves this many products.
const ROW_TILE: usize = 2;
/// Input rows handled together: each load of a weight serves this many products. Two by four
/// accumulators fill the registers of AVX2 and half of AVX-512's.
const BATCH_TILE: usize = 4;

/// `x · wᵀ`: `x` is `[m, k]`, `w` is `[n, k]`, the result `[m, n]`.
pub fn matmul_t(x: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    debug_assert_eq!((x.len(), w.len()), (m * k, n * k));
    if m <= FEW_ROWS {
        return few_rows(x, w, m, n, k);
    }
    gemm(m, n, k, (x, k as isize, 1), (w, 1, k as isize))
}

/// `y · w`: `y` is `[m, n]`, `w` is `[n, k]`, the result `[m, k]`; the gradient towards the input.
pub fn matmul(y: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    debug_assert_eq!((y.len(), w.len()), (m * n, n * k));
    gemm(m, k, n, (y, n as isize, 1), (w, k as isize, 1))
}

/// `yᵀ · x`: `y` is `[m, n]`, `x` is `[m, k]`, the result `[n, k]`; the gradient of the weight.
pub fn matmul_tn(y: &[f32], x: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    debug_assert_eq!((y.len(), x.len()), (m * n, m * k));
    gemm(n, k, m, (y, 1, n as isize), (x, k as isize, 1))
}

/// A matrix as a slice with its row and column strides.
type Strided<'a> = (&'a [f32], isize, isize);

/// `[m, k] · [k, n]` into a fresh row-major `[m, n]`, on all threads.
fn gemm(m: usize, n: usize, k: usize, lhs: Strided<'_>, rhs: Strided<'_>) -> Vec<f32> {
    let mut out = vec![0f32; m * n];
    gemm_into(&mut out, n as isize, (m, n, k), lhs, rhs, 0.0, gemm::Parallelism::Rayon(0));
    out
}

/// `out = beta · out + lhs · rhs` with `out` row-major at `row_stride`.
///
/// # Panics
/// When a matrix of this shape and these strides does not lie within its slice.
pub fn gemm_into(
    out: &mut [f32],
    row_stride: isize,
    (m, n, k): (usize, usize, usize),
    (lhs, lhs_row, lhs_col): Strided<'_>,
    (rhs, rhs_row, rhs_col): Strided<'_>,
    beta: f32,
    parallelism: gemm::Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    let last = |rows: usize, cols: usize, row: isize, col: isize| {
        (rows as isize - 1) * row + (cols as isize - 1) * col
    };
    assert!(last(m, n, row_stride, 1) < out.len() as isize, "output does not fit its slice");
    if k > 0 {
        assert!(last(m, k, lhs_row, lhs_col) < lhs.len() as isize, "left side is too short");
        assert!(last(k, n, rhs_row, rhs_col) < rhs.len() as isize, "right side is too short");
    }
    // SAFETY: the asserts above keep every access (strides are non-negative) inside the slices,
    // and `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            row_stride,
            beta != 0.0,
            lhs.as_ptr(),
            lhs_col,
            lhs_row,
            rhs.as_ptr(),
            rhs_col,
            rhs_row,
            beta,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// `x · wᵀ` for few rows `m`, reading `w` exactly once.
fn few_rows(x: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    if m == 0 || n == 0 {
        return Vec::new();
    }
    // Columns of the result are made [n, m], so that each thread owns whole rows of it, and then
    // transposed; that is m·n values against the n·k of the weight.
    let mut transposed = vec![0f32; n * m];
    let rows_per_task = n.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(ROW_TILE);
    transposed.par_chunks_mut(rows_per_task * m).zip(w.par_chunks(rows_per_task * k)).for_each(
        |(out, w)| {
            vectorised(
                #[inline(always)]
                || {
                    for (out, w) in out.chunks_mut(ROW_TILE * m).zip(w.chunks(ROW_TILE * k)) {
                        if w.len() == ROW_TILE * k {
                            weight_rows::<ROW_TILE>(x, w, m, k, out);
                        } else {
                            weight_rows::<1>(x, w, m, k, out);
                        }
                    }
                },
            );
        },
    );
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

/// `R` rows of the weight against all `m` inputs; `out` is `[R, m]`.
#[inline(always)]
fn weight_rows<const R: usize>(x: &[f32], w: &[f32], m: usize, k: usize, out: &mut [f32]) {
    let mut row = 0;
    while row + BATCH_TILE <= m {
        tile::<R, BATCH_TILE>(&x[row * k..], w, k, &mut out[row..], m);
        row += BATCH_TILE;
    }
    while row < m {
        tile::<R, 1>(&x[row * k..], w, k, &mut out[row..], m);
        row += 1;
    }
}

/// An `R` by `B` tile of dot products of length `k`.
#[inline(always)]
fn tile<const R: usize, const B: usize>(
    x: &[f32],
    w: &[f32],
    k: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    let xs: [&[f32]; B] = std::array::from_fn(|b| &x[b * k..(b + 1) * k]);
    let ws: [&[f32]; R] = std::array::from_fn(|r| &w[r * k..(r + 1) * k]);
    let mut acc = [[[0f32; LANES]; B]; R];
    let whole = k - k % LANES;
    let mut i = 0;
    while i < whole {
        for r in 0..R {
            for b in 0..B {
                let (wv, xv) = (&ws[r][i..i + LANES], &xs[b][i..i + LANES]);
                for lane in 0..LANES {
                    acc[r][b][lane] = wv[lane].mul_add(xv[lane], acc[r][b][lane]);
                }
            }
        }
        i += LANES;
    }
    for r in 0..R {
        for b in 0..B {
            let mut total: f32 = acc[r][b].iter().sum();
            for i in whole..k {
                total = ws[r][i].mul_add(xs[b][i], total);
            }
            out[r * out_stride + b] = total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(len: usize, seed: u32) -> Vec<f32> {
        (0..len as u32).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 50.0 - 1.0).collect()
    }

    #[test]
    fn every_batch_size_gives_the_plain_sum_of_products() {
        let (n, k) = (37, 83);
        for m in [1, 2, 3, 4, 7, 8, FEW_ROWS, FEW_ROWS + 1, 70] {
            let (x, w) = (matrix(m * k, 1), matrix(n * k, 2));
            let out = matmul_t(&x, &w, m, n, k);
            for row in 0..m {
                for column in 0..n {
                    let exact: f64 =
                        (0..k).map(|i| x[row * k + i] as f64 * w[column * k + i] as f64).sum();
                    assert!((out[row * n + column] as f64 - exact).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn the_two_backward_products_are_transposes_of_the_forward_one() {
        let (m, n, k) = (5, 6, 7);
        let (y, w, x) = (matrix(m * n, 3), matrix(n * k, 4), matrix(m * k, 5));
        let dx = matmul(&y, &w, m, n, k);
        let dw = matmul_tn(&y, &x, m, n, k);
        let exact_dx: f32 = (0..n).map(|j| y[2 * n + j] * w[j * k + 3]).sum();
        let exact_dw: f32 = (0..m).map(|i| y[i * n + 4] * x[i * k + 6]).sum();
        assert!((dx[2 * k + 3] - exact_dx).abs() < 1e-5);
        assert!((dw[4 * k + 6] - exact_dw).abs() < 1e-5);
    }
}
