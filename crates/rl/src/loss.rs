//! Losses, each one formula of the paper.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use rlaif_types::{KlEstimator, PreferenceLoss, SoftLabel};

/// Reward-model loss of each pair: `-[p log sigma(a - b) + (1 - p) log sigma(b - a)]` (paper
/// section 2). Its gradient in `a` is `sigma(a - b) - p`; hard labels give Bradley-Terry.
///
/// # Shapes
/// `a` and `b` `[pairs]`: rewards of the two candidates. Result `[pairs]`.
pub fn soft_label_cross_entropy(a: Tensor<1>, b: Tensor<1>, labels: &[SoftLabel]) -> Tensor<1> {
    let p: Vec<f32> = labels.iter().map(|label| label.value() as f32).collect();
    let p = constant(&p, &a);
    let margin = a - b;
    let prefer_a = log_sigmoid(margin.clone()) * p.clone();
    let prefer_b = log_sigmoid(-margin) * (-p + 1.0);
    -(prefer_a + prefer_b)
}

/// Truncated importance weights of drawn tokens, `min(pi / pi_drawn, cap)`: with them, gradients of
/// tokens that an older policy drew are those of tokens of `pi`, up to the truncation (IMPALA,
/// Espeholt et al. 2018, section 4.1).
///
/// `logprobs` under the policy that learns, `drawn` under the one that drew.
pub fn importance_weights<'a>(
    logprobs: &'a [f32],
    drawn: &'a [f32],
    cap: f32,
) -> impl Iterator<Item = f32> + 'a {
    logprobs.iter().zip(drawn).map(move |(now, then)| (now - then).exp().min(cap))
}

/// REINFORCE, summed over tokens: `-log pi(a_t | x_t) · stopgrad(advantage_t)` (paper section 3).
///
/// # Shapes
/// `logprobs` `[tokens]`, one advantage for each. Result `[1]`.
pub fn policy_gradient(logprobs: Tensor<1>, advantages: &[f32]) -> Tensor<1> {
    let advantages = constant(advantages, &logprobs);
    -(logprobs * advantages).sum()
}

/// Value loss, summed over tokens: `(Z_t - V(x_t))²` (paper section 3).
///
/// # Shapes
/// `values` `[tokens]`, one return for each. Result `[1]`.
pub fn value_regression(values: Tensor<1>, returns: &[f32]) -> Tensor<1> {
    let returns = constant(returns, &values);
    (returns - values).powf_scalar(2.0).sum()
}

/// A term that holds the policy to its reference, summed over weighted tokens. With
/// `d = log pi - log reference`: `d` (k1), `d² / 2` (k2) or `e^-d - 1 + d` (k3).
///
/// For tokens drawn from `pi`, the expected gradient of k2 is exactly the divergence's, which those of
/// k1 (it is zero) and k3 (it is that of the reversed divergence) are not: Schulman, "Approximating KL
/// divergence", 2020, and Tang & Munos, 2025.
///
/// # Shapes
/// `logprobs` `[tokens]`, one reference log-probability and one weight for each. Result `[1]`.
pub fn kl_penalty(
    logprobs: Tensor<1>,
    reference: &[f32],
    weights: &[f32],
    estimator: KlEstimator,
) -> Tensor<1> {
    let (reference, weights) = (constant(reference, &logprobs), constant(weights, &logprobs));
    let d = logprobs - reference;
    match estimator {
        KlEstimator::K1 => (d * weights).sum(),
        KlEstimator::K2 => (d.powf_scalar(2.0) * weights).sum() * 0.5,
        KlEstimator::K3 => {
            let up = (-d.clone()).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp();
            ((up - 1.0 + d) * weights).sum()
        }
    }
}

/// Ratios beyond `e` to this are as good as infinite, and one that overflows makes gradients of
/// `0 · inf`.
const LARGEST_LOG_RATIO: f32 = 20.0;

/// Clipped surrogate, summed over weighted tokens: with `rho = pi / pi_drawn`,
/// `-min(rho · advantage, clip(rho, 1 - low, 1 + high) · advantage)` (PPO, Schulman et al. 2017).
///
/// # Shapes
/// `logprobs` `[tokens]`; one drawn log-probability, advantage and weight for each. Result `[1]`.
pub fn clipped_surrogate(
    logprobs: Tensor<1>,
    drawn: &[f32],
    advantages: &[f32],
    weights: &[f32],
    (low, high): (f32, f32),
) -> Tensor<1> {
    let (drawn, advantages) = (constant(drawn, &logprobs), constant(advantages, &logprobs));
    let weights = constant(weights, &logprobs);
    let ratio = (logprobs - drawn).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp();
    let clipped = ratio.clone().clamp(1.0 - low, 1.0 + high) * advantages.clone();
    -((ratio * advantages).min_pair(clipped) * weights).sum()
}

/// Value loss of PPO, summed over weighted tokens: half the larger of `(R_t - V(x_t))²` and the same
/// with `V` within `clip` of what it was; half the former where there is no `clip`.
///
/// # Shapes
/// `values` `[tokens]`; one return, earlier value and weight for each. Result `[1]`.
pub fn clipped_value_regression(
    values: Tensor<1>,
    returns: &[f32],
    before: &[f32],
    weights: &[f32],
    clip: Option<f32>,
) -> Tensor<1> {
    let (returns, weights) = (constant(returns, &values), constant(weights, &values));
    let free = (returns.clone() - values.clone()).powf_scalar(2.0);
    let errors = match clip {
        None => free,
        Some(clip) => {
            let before = constant(before, &values);
            let near = before.clone() + (values - before).clamp(-clip, clip);
            free.max_pair((returns - near).powf_scalar(2.0))
        }
    };
    (errors * weights).sum() * 0.5
}

/// Loss on the margins of pairs, `h = log(pi / reference)` of A less that of B, summed over pairs and
/// expected under the probability `p` that A is the better one: `p l(h) + (1 - p) l(-h)`.
///
/// # Shapes
/// `margins` `[pairs]`, one label for each. Result `[1]`.
pub fn preference(
    margins: Tensor<1>,
    labels: &[SoftLabel],
    loss: PreferenceLoss,
    beta: f64,
) -> Tensor<1> {
    let one_sided = |h: Tensor<1>| match loss {
        PreferenceLoss::Dpo => -log_sigmoid(h * beta as f32),
        PreferenceLoss::Ipo => (h - (0.5 / beta) as f32).powf_scalar(2.0),
        PreferenceLoss::Slic => (-h * beta as f32 + 1.0).clamp_min(0.0),
    };
    let p: Vec<f32> = labels.iter().map(|label| label.value() as f32).collect();
    let p = constant(&p, &margins);
    (one_sided(margins.clone()) * p.clone() + one_sided(-margins) * (-p + 1.0)).sum()
}

/// Negative log-likelihood, summed over tokens.
pub fn negative_log_likelihood(logprobs: Tensor<1>) -> Tensor<1> {
    -logprobs.sum()
}

/// Numbers beside a tensor on the tape, themselves without gradient.
pub(crate) fn constant(values: &[f32], like: &Tensor<1>) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &like.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;

    fn tracked(values: &[f32]) -> Tensor<1> {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        Tensor::from_inner(Tensor::from_data(data, &Device::flex())).require_grad()
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().into_vec().unwrap()
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn labels(p: &[f64]) -> Vec<SoftLabel> {
        p.iter().map(|p| SoftLabel::new(*p).unwrap()).collect()
    }

    #[test]
    fn soft_cross_entropy_and_its_gradient_equal_the_closed_form() {
        let (a, b, p) = ([0.3_f32, -2.0, 5.0], [1.1_f32, -2.5, -3.0], [0.8, 0.1, 0.5]);
        let (ta, tb) = (tracked(&a), tracked(&b));
        let loss = soft_label_cross_entropy(ta.clone(), tb.clone(), &labels(&p)).sum();
        let margins = a.iter().zip(&b).map(|(a, b)| f64::from(a - b));
        let expected: f64 = margins
            .clone()
            .zip(p)
            .map(|(m, p)| -(p * sigmoid(m).ln() + (1.0 - p) * sigmoid(-m).ln()))
            .sum();
        assert!((f64::from(values(loss.clone().inner())[0]) - expected).abs() < 1e-5);
        let grads = loss.backward();
        let (ga, gb) = (values(ta.grad(&grads).unwrap()), values(tb.grad(&grads).unwrap()));
        for (i, (margin, p)) in margins.zip(p).enumerate() {
            let expected = (sigmoid(margin) - p) as f32;
            assert!((ga[i] - expected).abs() < 1e-6 && (gb[i] + expected).abs() < 1e-6);
        }
    }

    #[test]
    fn hard_labels_give_bradley_terry() {
        let loss = soft_label_cross_entropy(tracked(&[2.0]), tracked(&[0.5]), &labels(&[1.0]));
        let bradley_terry = -sigmoid(1.5).ln();
        assert!((f64::from(values(loss.inner())[0]) - bradley_terry).abs() < 1e-6);
    }

    #[test]
    fn the_policy_gradient_is_minus_the_advantage() {
        let logprobs = tracked(&[-1.0, -2.0]);
        let grads = policy_gradient(logprobs.clone(), &[0.5, -3.0]).backward();
        assert_eq!(values(logprobs.grad(&grads).unwrap()), [-0.5, 3.0]);
    }

    #[test]
    fn the_kl_penalty_pulls_each_token_towards_the_reference() {
        let logprobs = tracked(&[-1.0, -2.0]);
        let grads =
            kl_penalty(logprobs.clone(), &[-1.5, -1.0], &[1.0, 0.5], KlEstimator::K2).backward();
        assert_eq!(values(logprobs.grad(&grads).unwrap()), [0.5, -0.5]);
    }

    /// A loss's value and its gradient.
    fn value_and_gradient(x: &[f32], f: impl Fn(Tensor<1>) -> Tensor<1>) -> (f32, Vec<f32>) {
        let x = tracked(x);
        let loss = f(x.clone());
        let value = values(loss.clone().inner())[0];
        (value, values(x.grad(&loss.backward()).unwrap()))
    }

    fn close(found: (f32, Vec<f32>), value: f64, gradient: &[f64]) {
        assert!((f64::from(found.0) - value).abs() < 1e-5, "{found:?} {value}");
        assert_eq!(found.1.len(), gradient.len());
        for (f, e) in found.1.iter().zip(gradient) {
            assert!((f64::from(*f) - e).abs() < 1e-5, "{found:?} {gradient:?}");
        }
    }

    #[test]
    fn kl_penalties_are_the_estimators_with_their_derivatives() {
        // d is 0.5 and -1, weighted by 1 and 0.5.
        let (x, reference, weights) = ([-1.0, -2.0], [-1.5, -1.0], [1.0, 0.5]);
        let of =
            |estimator| value_and_gradient(&x, |x| kl_penalty(x, &reference, &weights, estimator));
        close(of(KlEstimator::K1), 0.5 - 0.5, &[1.0, 0.5]);
        close(of(KlEstimator::K2), 0.125 + 0.25, &[0.5, -0.5]);
        let (a, b) = ((-0.5_f64).exp(), 1.0_f64.exp());
        close(of(KlEstimator::K3), (a - 0.5) + 0.5 * (b - 2.0), &[1.0 - a, 0.5 * (1.0 - b)]);
    }

    #[test]
    fn the_surrogate_is_clipped_where_it_would_pay_to_go_further() {
        // Ratios 1.5 and 0.5, each with an advantage of either sign, clipped to 0.8 .. 1.3.
        let drawn = [-2.0; 4];
        let now = [1.5_f32.ln(), 1.5_f32.ln(), 0.5_f32.ln(), 0.5_f32.ln()].map(|r| r - 2.0);
        let advantages = [2.0, -2.0, 2.0, -2.0];
        let weights = [1.0, 1.0, 1.0, 0.5];
        let found = value_and_gradient(&now, |x| {
            clipped_surrogate(x, &drawn, &advantages, &weights, (0.2, 0.3))
        });
        // The gradient of rho is rho; where the clipped side counts, it is 0.
        close(found, -(2.6 - 3.0 + 1.0 - 0.8), &[0.0, 3.0, -1.0, 0.0]);
    }

    #[test]
    fn a_ratio_that_would_overflow_has_a_gradient_of_zero() {
        let found = value_and_gradient(&[0.0, 0.0], |x| {
            clipped_surrogate(x, &[-200.0, -200.0], &[1.0, -1.0], &[1.0, 0.0], (0.2, 0.2))
        });
        close(found, -1.2, &[0.0, 0.0]);
    }

    #[test]
    fn values_are_held_to_what_they_were() {
        let (now, returns, before) = ([1.0, 1.0, 0.1], [2.0, 0.0, 1.0], [0.0, 0.0, 0.0]);
        let weights = [1.0, 1.0, 0.5];
        let of = |clip| {
            value_and_gradient(&now, |x| {
                clipped_value_regression(x, &returns, &before, &weights, clip)
            })
        };
        close(of(None), 0.5 * (1.0 + 1.0 + 0.5 * 0.81), &[-1.0, 1.0, -0.45]);
        // The first has moved further than 0.2 towards its return: no more gradient.
        close(of(Some(0.2)), 0.5 * (3.24 + 1.0 + 0.5 * 0.81), &[0.0, 1.0, -0.45]);
    }

    #[test]
    fn preference_losses_and_their_gradients_by_hand() {
        let (h, beta) = ([1.0, -3.0, 30.0], 0.5);
        let certain = labels(&[1.0; 3]);
        let of = |loss, labels: &[SoftLabel]| {
            value_and_gradient(&h, |h| preference(h, labels, loss, beta))
        };
        let dpo = |h: f64| (-sigmoid(beta * h).ln(), -beta * sigmoid(-beta * h));
        let (a, b, c) = (dpo(1.0), dpo(-3.0), dpo(30.0));
        close(of(PreferenceLoss::Dpo, &certain), a.0 + b.0 + c.0, &[a.1, b.1, c.1]);
        close(of(PreferenceLoss::Ipo, &certain), 16.0 + 841.0, &[0.0, -8.0, 58.0]);
        close(of(PreferenceLoss::Slic, &certain), 0.5 + 2.5, &[-0.5, -0.5, 0.0]);
        // A label of 1/4 weights either order.
        let soft = labels(&[0.25; 3]);
        let slic = [0.25 * 0.5 + 0.75 * 1.5, 0.25 * 2.5, 0.75 * 16.0];
        close(
            of(PreferenceLoss::Slic, &soft),
            slic.iter().sum(),
            &[0.25 * -0.5 + 0.75 * 0.5, 0.25 * -0.5, 0.75 * 0.5],
        );
    }

    /// A policy over three actions; the expectation is over every action that `drawn` can take.
    fn expected_policy_gradient(logits: [f32; 3], drawn: [f32; 3], cap: f32) -> Vec<f32> {
        let advantages = [1.0, -0.5, 2.0];
        let logits = tracked(&logits);
        let logprobs = log_softmax(logits.clone(), 0);
        let now = values(logprobs.clone().inner());
        let drawn = values(log_softmax(tracked(&drawn), 0).inner());
        let weighted: Vec<f32> = importance_weights(&now, &drawn, cap)
            .zip(&drawn)
            .zip(advantages)
            .map(|((weight, drawn), advantage)| drawn.exp() * weight * advantage)
            .collect();
        let grads = policy_gradient(logprobs, &weighted).backward();
        values(logits.grad(&grads).unwrap())
    }

    #[test]
    fn importance_weights_turn_an_older_policys_draws_into_todays() {
        let (now, then) = ([0.3, -1.0, 0.9], [1.2, 0.1, -0.4]);
        let on_policy = expected_policy_gradient(now, now, 1.0);
        let off_policy = expected_policy_gradient(now, then, 1e6);
        for (on, off) in on_policy.iter().zip(&off_policy) {
            assert!((on - off).abs() < 1e-6, "{on_policy:?} against {off_policy:?}");
        }
        let truncated = expected_policy_gradient(now, then, 1.0);
        assert!((truncated[2] - on_policy[2]).abs() > 0.1, "truncation is felt where pi grew most");
    }

    #[test]
    fn importance_weights_are_truncated_above_alone() {
        let weights: Vec<f32> =
            importance_weights(&[-1.0, -1.0, -5.0], &[-1.0, -3.0, -1.0], 2.0).collect();
        assert_eq!(weights[..2], [1.0, 2.0]);
        assert!((weights[2] - (-4.0_f32).exp()).abs() < 1e-7);
    }
}
