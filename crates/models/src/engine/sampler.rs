//! Drawing one token from a row of logits.

use crate::kernels::cpu::math::{exp_and_sum, log_sum_exp, max};
use crate::kernels::cpu::simd::vectorised;
use crate::language_model::Sampling;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Draws a token and returns it with its log-probability under `softmax(logits / temperature)`,
/// before top-k and top-p, at temperature 1 for greedy decoding.
///
/// `allow_stop` is false while fewer than `min_new_tokens` were drawn.
pub(super) fn sample(
    logits: &[f32],
    sampling: &Sampling,
    allow_stop: bool,
    rng: &mut ChaCha8Rng,
) -> (u32, f32) {
    let scale = if sampling.temperature == 0.0 { 1.0 } else { 1.0 / sampling.temperature };
    let allowed = |token: usize| allow_stop || !sampling.stop_tokens.contains(&(token as u32));
    let token = if sampling.temperature == 0.0 {
        most_likely(logits, allowed)
    } else {
        draw(logits, scale, sampling, allowed, rng)
    };
    let normaliser = vectorised(
        #[inline(always)]
        || log_sum_exp(logits, scale),
    );
    (token as u32, logits[token] * scale - normaliser)
}

/// The first of the largest allowed logits.
fn most_likely(logits: &[f32], allowed: impl Fn(usize) -> bool) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, logit) in logits.iter().enumerate() {
        if *logit > best.1 && allowed(token) {
            best = (token, *logit);
        }
    }
    best.0
}

/// Draws in proportion to `exp(scale · logit)` among the allowed tokens that top-k and top-p keep.
fn draw(
    logits: &[f32],
    scale: f32,
    sampling: &Sampling,
    allowed: impl Fn(usize) -> bool,
    rng: &mut ChaCha8Rng,
) -> usize {
    let mut weights = logits.to_vec();
    for stop in &sampling.stop_tokens {
        if let Some(weight) = weights.get_mut(*stop as usize)
            && !allowed(*stop as usize)
        {
            *weight = f32::NEG_INFINITY;
        }
    }
    vectorised(
        #[inline(always)]
        || {
            let top = max(&weights) * scale;
            exp_and_sum(&mut weights, scale, top)
        },
    );
    keep_top(&mut weights, sampling);
    let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let mut left = uniform * total;
    let mut last = 0;
    for (token, weight) in weights.iter().enumerate() {
        if *weight > 0.0 {
            last = token;
            left -= f64::from(*weight);
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

/// Zeroes the weights that top-k and then top-p leave out.
fn keep_top(weights: &mut [f32], sampling: &Sampling) {
    let top_k = sampling.top_k.filter(|k| *k < weights.len());
    let top_p = sampling.top_p.filter(|p| *p < 1.0);
    if top_k.is_none() && top_p.is_none() {
        return;
    }
    let mut order: Vec<u32> = (0..weights.len() as u32).collect();
    // Ties go to the lower token, so that the kept set is the same everywhere.
    let descending =
        |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
    if let Some(k) = top_k {
        order.select_nth_unstable_by(k.max(1) - 1, descending);
        order.truncate(k.max(1));
    }
    if let Some(p) = top_p {
        order.sort_unstable_by(descending);
        let total: f64 = order.iter().map(|t| f64::from(weights[*t as usize])).sum();
        let mut reached = 0.0;
        let kept = order.iter().position(|token| {
            reached += f64::from(weights[*token as usize]);
            reached >= f64::from(p) * total
        });
        order.truncate(kept.map_or(order.len(), |last| last + 1));
    }
    let kept: Vec<(u32, f32)> = order.iter().map(|t| (*t, weights[*t as usize])).collect();
    weights.fill(0.0);
    for (token, weight) in kept {
        weights[token as usize] = weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn sampling(temperature: f32) -> Sampling {
        Sampling {
            max_new_tokens: 1,
            min_new_tokens: 0,
            temperature,
            top_k: None,
            top_p: None,
            stop_tokens: vec![3],
            stop_texts: Vec::new(),
            seed: 0,
        }
    }

    /// Share of each token over many draws.
    fn shares(logits: &[f32], sampling: &Sampling, allow_stop: bool) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[sample(logits, sampling, allow_stop, &mut rng).0 as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn draws_in_proportion_to_the_tempered_softmax() {
        let logits = [1.0, 2.0, 0.0, 3.0];
        let weights: Vec<f64> = logits.iter().map(|l| (f64::from(*l) / 0.5).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (share, weight) in shares(&logits, &sampling(0.5), true).iter().zip(&weights) {
            // Four standard errors of a share over 20,000 draws are below 0.015.
            assert!((share - weight / total).abs() < 0.015);
        }
    }

    #[test]
    fn stop_tokens_wait_for_the_minimum_length() {
        let logits = [1.0, 2.0, 0.0, 30.0];
        assert_eq!(shares(&logits, &sampling(1.0), false)[3], 0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(sample(&logits, &sampling(0.0), false, &mut rng).0, 1);
        assert_eq!(sample(&logits, &sampling(0.0), true, &mut rng).0, 3);
    }

    #[test]
    fn top_k_and_top_p_keep_the_likeliest() {
        let logits = [1.0, 2.0, 0.0, 3.0];
        let top_2 = Sampling { top_k: Some(2), ..sampling(1.0) };
        let kept = shares(&logits, &top_2, true);
        assert!(kept[0] == 0.0 && kept[2] == 0.0 && kept[1] > 0.0 && kept[3] > 0.0);
        let top_p = Sampling { top_p: Some(0.5), ..sampling(1.0) };
        let kept = shares(&logits, &top_p, true);
        assert_eq!(kept[..3], [0.0; 3], "the likeliest alone exceeds one half");
    }

    #[test]
    fn the_reported_logprob_is_that_of_the_tempered_softmax() {
        let logits = [1.0f32, 2.0, 0.0, 3.0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (token, logprob) = sample(&logits, &sampling(2.0), true, &mut rng);
        let normaliser = logits.iter().map(|l| (l / 2.0).exp()).sum::<f32>().ln();
        assert!((logprob - (logits[token as usize] / 2.0 - normaliser)).abs() < 1e-5);
    }
}
