//! What a reward model minimises: the labels' cross-entropy, weighted pair by pair, with margins, and a
//! pull of rewards towards 0.

use crate::loss::{constant, soft_label_cross_entropy};
use crate::reward_model::LabelledPair;
use burn::tensor::Tensor;
use rlaif_types::{RewardObjective, SoftLabel};

/// Summed over pairs of weight `w`, label `p` and margin `m`:
///
/// `-w [p log sigma(a - b - k m) + (1 - p) log sigma(b - a + k m)] + c (a + b)²`
///
/// with `k = objective.margin` and `c = objective.center`. At its minimum `a - b = logit(p) + k m`. With
/// `p = 1` and `m > 0` it is Llama 2's ranking loss with margin; with `w = 1` and `k = c = 0` the paper's.
///
/// # Shapes
/// `a` and `b` `[pairs]`: rewards of the two candidates. Result `[1]`.
pub(crate) fn reward_loss(
    objective: &RewardObjective,
    a: Tensor<1>,
    b: Tensor<1>,
    pairs: &[LabelledPair],
) -> Tensor<1> {
    let labels: Vec<SoftLabel> = pairs.iter().map(|pair| pair.label).collect();
    let margins: Vec<f32> =
        pairs.iter().map(|pair| (objective.margin * f64::from(pair.margin)) as f32).collect();
    let weights: Vec<f32> = pairs.iter().map(|pair| pair.weight).collect();
    let (margins, weights) = (constant(&margins, &a), constant(&weights, &a));
    let cross_entropy = soft_label_cross_entropy(a.clone() - margins, b.clone(), &labels);
    let loss = (cross_entropy * weights).sum();
    match objective.center {
        0.0 => loss,
        center => loss + (a + b).powf_scalar(2.0).sum() * center as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tracked(values: [f32; 3]) -> Tensor<1> {
        let data = TensorData::new(values.to_vec(), [3]);
        Tensor::from_inner(Tensor::from_data(data, &Device::flex())).require_grad()
    }

    fn values(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().into_vec().unwrap()
    }

    fn pairs() -> Vec<LabelledPair> {
        let pair = |p, weight, margin| LabelledPair {
            weight,
            margin,
            ..LabelledPair::new(vec![1], vec![2], SoftLabel::new(p).unwrap())
        };
        vec![pair(1.0, 1.0, 2.0), pair(0.25, 0.5, -1.0), pair(0.5, 1.5, 0.0)]
    }

    const A: [f32; 3] = [1.0, -0.5, 0.25];
    const B: [f32; 3] = [0.25, 0.75, -1.0];

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn loss_and_gradient_equal_the_formula_worked_out_by_hand() {
        let objective = RewardObjective { margin: 0.5, center: 0.01 };
        let (a, b) = (tracked(A), tracked(B));
        let loss = reward_loss(&objective, a.clone(), b.clone(), &pairs());
        let grads = loss.backward();
        let (ga, gb) = (values(a.grad(&grads).unwrap()), values(b.grad(&grads).unwrap()));
        let mut expected = 0.0;
        for (i, pair) in pairs().iter().enumerate() {
            let (a, b, p) = (f64::from(A[i]), f64::from(B[i]), pair.label.value());
            let (w, z) = (f64::from(pair.weight), a - b - 0.5 * f64::from(pair.margin));
            expected -= w * (p * sigmoid(z).ln() + (1.0 - p) * sigmoid(-z).ln());
            expected += 0.01 * (a + b).powi(2);
            let (ranking, centering) = (w * (sigmoid(z) - p), 0.02 * (a + b));
            // f32 beside f64.
            assert!((f64::from(ga[i]) - (ranking + centering)).abs() < 1e-6, "pair {i}: {ga:?}");
            assert!((f64::from(gb[i]) - (centering - ranking)).abs() < 1e-6, "pair {i}: {gb:?}");
        }
        assert!((f64::from(values(loss.inner())[0]) - expected).abs() < 1e-5);
    }

    #[test]
    fn the_plain_objective_is_the_papers_to_the_bit() {
        let plain: Vec<LabelledPair> =
            pairs().into_iter().map(|pair| LabelledPair { weight: 1.0, ..pair }).collect();
        let labels: Vec<SoftLabel> = plain.iter().map(|pair| pair.label).collect();
        let of = |loss: fn(Tensor<1>, Tensor<1>, &[LabelledPair], &[SoftLabel]) -> Tensor<1>| {
            let (a, b) = (tracked(A), tracked(B));
            let loss = loss(a.clone(), b.clone(), &plain, &labels);
            let grads = loss.backward();
            [loss.inner(), a.grad(&grads).unwrap(), b.grad(&grads).unwrap()].map(values)
        };
        let ours = of(|a, b, pairs, _| reward_loss(&RewardObjective::default(), a, b, pairs));
        let papers = of(|a, b, _, labels| soft_label_cross_entropy(a, b, labels).sum());
        assert_eq!(ours, papers);
    }
}
