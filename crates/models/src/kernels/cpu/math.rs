//! Vectorisable building blocks: exponential, sums, softmax statistics.

/// Lanes of the partial sums. Sixteen `f32` fill one AVX-512 register or two AVX2 ones, and a fixed
/// number makes every reduction's order the same on each of them.
pub const LANES: usize = 16;

/// `e^x` to about 2 ulp for `x <= 88`, 0 below -87.3; a polynomial, so that loops over it vectorise
/// where calls of the C library's `expf` would not.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // e^x = 2^k · e^r with k = round(x / ln 2), |r| <= ln 2 / 2; ln 2 in two parts keeps r exact.
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let k = shifted - ROUND;
    let r = k.mul_add(-0.693_359_4, clamped);
    let r = k.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let e_r = p.mul_add(r * r, r) + 1.0;
    // The integer k sits in the low mantissa bits of `shifted`; move it to the exponent.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.3 { 0.0 } else { e_r * scale }
}

/// Sum of `f(i)` for all `i < n`, in [`LANES`] partial sums.
#[inline(always)]
fn lane_sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut acc = [0f32; LANES];
    let whole = n - n % LANES;
    let mut i = 0;
    while i < whole {
        for (lane, sum) in acc.iter_mut().enumerate() {
            *sum += f(i + lane);
        }
        i += LANES;
    }
    let mut total: f32 = acc.iter().sum();
    for i in whole..n {
        total += f(i);
    }
    total
}

/// `Σ x_i y_i`.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    let n = x.len();
    let y = &y[..n];
    let mut acc = [0f32; LANES];
    let (x_lanes, x_rest) = x.as_chunks::<LANES>();
    let (y_lanes, y_rest) = y.as_chunks::<LANES>();
    for (a, b) in x_lanes.iter().zip(y_lanes) {
        for lane in 0..LANES {
            acc[lane] = a[lane].mul_add(b[lane], acc[lane]);
        }
    }
    let mut total: f32 = acc.iter().sum();
    for (a, b) in x_rest.iter().zip(y_rest) {
        total = a.mul_add(*b, total);
    }
    total
}

/// `Σ x_i²`.
#[inline(always)]
pub fn sum_of_squares(x: &[f32]) -> f32 {
    dot(x, x)
}

/// `y += a x`.
#[inline(always)]
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = a.mul_add(*x, *y);
    }
}

/// The largest value; minus infinity for none.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut acc = [f32::NEG_INFINITY; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for chunk in lanes {
        for lane in 0..LANES {
            acc[lane] = if chunk[lane] > acc[lane] { chunk[lane] } else { acc[lane] };
        }
    }
    acc.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// Replaces `x` by `exp(scale · x - max)` and returns the sum: the two passes of a softmax.
#[inline(always)]
pub fn exp_and_sum(x: &mut [f32], scale: f32, max: f32) -> f32 {
    for v in x.iter_mut() {
        *v = exp(v.mul_add(scale, -max));
    }
    lane_sum(x.len(), |i| x[i])
}

/// `log Σ exp(scale · x_i)`, with the largest term taken out.
#[inline(always)]
pub fn log_sum_exp(x: &[f32], scale: f32) -> f32 {
    let top = max(x) * scale;
    top + lane_sum(x.len(), |i| exp(x[i].mul_add(scale, -top))).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_library_over_its_range() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let (ours, exact) = (exp(x), (x as f64).exp());
            let relative = ((ours as f64 - exact) / exact).abs();
            assert!(relative < 5e-7, "exp({x}) = {ours}, not {exact}");
        }
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn log_sum_exp_survives_large_logits() {
        let x: Vec<f32> = (0..37).map(|i| 300.0 + i as f32).collect();
        let exact = 336.0 + (0..37).map(|i| (-(i as f64)).exp()).sum::<f64>().ln();
        assert!((log_sum_exp(&x, 1.0) as f64 - exact).abs() < 1e-4);
    }
}
