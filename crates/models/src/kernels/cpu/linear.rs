//! Dense products with a weight stored `[out, in]`, as checkpoints store them.
//!
//! Large batches go to `gemm`, a handful of rows to [`few_rows`].

use super::few_rows::few_rows;

/// Up to this many rows, streaming the weight beats packing it (measured on 2 AVX-512 cores).
const FEW_ROWS: usize = 24;

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

/// `out += yᵀ · x`, in the shapes of [`matmul_tn`].
pub fn add_matmul_tn(out: &mut [f32], y: &[f32], x: &[f32], m: usize, n: usize, k: usize) {
    debug_assert_eq!((y.len(), x.len(), out.len()), (m * n, m * k, n * k));
    let (y, x) = ((y, 1, n as isize), (x, k as isize, 1));
    gemm_into(out, k as isize, (n, k, m), y, x, 1.0, gemm::Parallelism::Rayon(0));
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
