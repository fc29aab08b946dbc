//! Losses, each one formula of the paper.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use rlaif_types::SoftLabel;

/// Reward-model loss, summed over pairs: `-[p log sigma(a - b) + (1 - p) log sigma(b - a)]` (paper
/// section 2). Its gradient in `a` is `sigma(a - b) - p`; hard labels give Bradley-Terry.
///
/// # Shapes
/// `a` and `b` `[pairs]`: rewards of the two candidates. Result `[1]`.
pub fn soft_label_cross_entropy(a: Tensor<1>, b: Tensor<1>, labels: &[SoftLabel]) -> Tensor<1> {
    let p: Vec<f32> = labels.iter().map(|label| label.value() as f32).collect();
    let p = constant(&p, &a);
    let margin = a - b;
    let prefer_a = log_sigmoid(margin.clone()) * p.clone();
    let prefer_b = log_sigmoid(-margin) * (-p + 1.0);
    -(prefer_a + prefer_b).sum()
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
/// `logprobs` `[tokens]`, one reference log-probability for each. Result `[1]`.
pub fn kl_penalty(logprobs: Tensor<1>, reference: &[f32]) -> Tensor<1> {
    let reference = constant(reference, &logprobs);
    (logprobs - reference).powf_scalar(2.0).sum() * 0.5
}

/// Negative log-likelihood, summed over tokens.
pub fn negative_log_likelihood(logprobs: Tensor<1>) -> Tensor<1> {
    -logprobs.sum()
}

/// Numbers beside a tensor on the tape, themselves without gradient.
fn constant(values: &[f32], like: &Tensor<1>) -> Tensor<1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &like.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

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
        let loss = soft_label_cross_entropy(ta.clone(), tb.clone(), &labels(&p));
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
        let grads = kl_penalty(logprobs.clone(), &[-1.5, -1.0]).backward();
        assert_eq!(values(logprobs.grad(&grads).unwrap()), [0.5, -1.0]);
    }
}
