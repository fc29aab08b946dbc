//! Losses, each one formula of the paper.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use rlaif_types::SoftLabel;

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

/// A term whose gradient is that of `KL(pi || reference)`, summed over tokens:
/// `(log pi - log reference)² / 2`.
///
/// For tokens drawn from `pi`, its expected gradient is exactly the divergence's, which that of the
/// plain log-ratio is not (that one's is zero): Schulman, "Approximating KL divergence", 2020.
///
/// # Shapes
/// `logprobs` `[tokens]`, one reference log-probability and one importance weight for each. Result
/// `[1]`.
pub fn kl_penalty(logprobs: Tensor<1>, reference: &[f32], weights: &[f32]) -> Tensor<1> {
    let (reference, weights) = (constant(reference, &logprobs), constant(weights, &logprobs));
    ((logprobs - reference).powf_scalar(2.0) * weights).sum() * 0.5
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
        let grads = kl_penalty(logprobs.clone(), &[-1.5, -1.0], &[1.0, 0.5]).backward();
        assert_eq!(values(logprobs.grad(&grads).unwrap()), [0.5, -0.5]);
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
