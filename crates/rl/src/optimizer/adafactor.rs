//! Adafactor's direction (Shazeer & Stern 2018), with a given learning rate and no first moment.

use super::Optimizer;
use burn::tensor::Tensor;

/// Added to squared gradients.
const EPSILON: f32 = 1e-30;
/// Largest root mean square of an update.
const CLIP: f32 = 1.0;

impl Optimizer {
    /// `grad / sqrt(v̂)`, clipped. A matrix's second moment is the outer product of its row and
    /// column means over their common mean; a vector's is kept whole.
    pub(super) fn adafactor(&mut self, name: &str, grad: Tensor<2>) -> Tensor<2> {
        // The decay rises with the step as 1 - t^-0.8, so that no bias correction is needed.
        let decay = 1.0 - (self.step as f64).powf(-0.8);
        let square = grad.clone() * grad.clone() + EPSILON;
        let [rows, columns] = grad.dims();
        let direction = if rows == 1 || columns == 1 {
            let v = self.average(&format!("{name}#v"), square, decay);
            grad / v.sqrt()
        } else {
            let row = self.average(&format!("{name}#row"), square.clone().mean_dim(1), decay);
            let column = self.average(&format!("{name}#column"), square.mean_dim(0), decay);
            let row_share = row.clone() / row.mean_dim(0);
            grad / row_share.sqrt() / column.sqrt()
        };
        let rms = (direction.clone() * direction.clone()).mean().sqrt().into_scalar::<f32>();
        direction / (rms / CLIP).max(1.0)
    }

    /// The running mean under `key`, with `value` added.
    fn average(&mut self, key: &str, value: Tensor<2>, decay: f64) -> Tensor<2> {
        let before = self.take_state(key, value.dims(), &value.device());
        let after = before * decay as f32 + value * (1.0 - decay) as f32;
        self.state.insert(key.to_owned(), after.clone());
        after
    }
}

#[cfg(test)]
mod tests {
    use crate::optimizer::Optimizer;
    use burn::tensor::{Device, Tensor};
    use rlaif_types::OptimizerConfig;

    #[test]
    fn a_rank_one_gradient_is_normalised_to_its_signs() {
        // The factored moment of u vᵀ is exact, so every weight moves by one, clipped to rms 1.
        let mut optimizer = Optimizer::new(OptimizerConfig::default());
        optimizer.step = 1;
        let grad =
            Tensor::<2>::from_floats([[1.0, -2.0, 3.0], [-10.0, 20.0, -30.0]], &Device::flex());
        let found: Vec<f32> = optimizer.adafactor("w", grad).into_data().into_vec().unwrap();
        for (found, sign) in found.iter().zip([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]) {
            assert!((found - sign).abs() < 1e-5, "{found}");
        }
        assert_eq!(optimizer.state["w#row"].dims(), [2, 1]);
        assert_eq!(optimizer.state["w#column"].dims(), [1, 3]);
    }
}
