//! AdamW's direction (Loshchilov & Hutter 2019).

use super::Optimizer;
use burn::tensor::Tensor;

/// Keeps a weight whose gradient has always been zero at rest.
const EPSILON: f32 = 1e-8;

impl Optimizer {
    /// `m̂ / (sqrt(v̂) + eps)` with bias-corrected moments.
    pub(super) fn adamw(&mut self, name: &str, grad: Tensor<2>) -> Tensor<2> {
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let (m_key, v_key) = (format!("{name}#m"), format!("{name}#v"));
        let (shape, device) = (grad.dims(), grad.device());
        let m =
            self.take(&m_key, shape, &device) * beta1 as f32 + grad.clone() * (1.0 - beta1) as f32;
        let v = self.take(&v_key, shape, &device) * beta2 as f32
            + grad.clone() * grad * (1.0 - beta2) as f32;
        let steps = self.step as i32;
        let m_scale = 1.0 / (1.0 - beta1.powi(steps));
        let v_scale = 1.0 / (1.0 - beta2.powi(steps));
        let direction =
            m.clone() * m_scale as f32 / ((v.clone() * v_scale as f32).sqrt() + EPSILON);
        self.state.insert(m_key, m);
        self.state.insert(v_key, v);
        direction
    }
}

#[cfg(test)]
mod tests {
    use crate::optimizer::{Optimizer, OptimizerConfig};
    use burn::tensor::{Device, Tensor};

    #[test]
    fn two_steps_equal_the_formula() {
        let mut optimizer = Optimizer::new(OptimizerConfig::default());
        let (mut m, mut v) = (0.0_f64, 0.0_f64);
        for (step, g) in [(1, 0.5), (2, -0.25)] {
            optimizer.step = step;
            let grad = Tensor::<2>::from_floats([[g as f32]], &Device::flex());
            let found = optimizer.adamw("w", grad).into_scalar::<f32>();
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) =
                (m / (1.0 - 0.9_f64.powi(step as i32)), v / (1.0 - 0.999_f64.powi(step as i32)));
            let expected = m_hat / (v_hat.sqrt() + 1e-8);
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
