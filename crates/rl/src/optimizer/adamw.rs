//! AdamW's direction (Loshchilov & Hutter 2019).

use super::Optimizer;
use crate::values::with_values;
use burn::tensor::Tensor;
use rlaif_models::kernels::cpu::optimizer::AdamWStep;

/// Keeps a weight whose gradient has always been zero at rest.
const EPSILON: f32 = 1e-8;

impl Optimizer {
    /// `m̂ / (sqrt(v̂) + eps)` with bias-corrected moments.
    pub(super) fn adamw(&mut self, name: &str, grad: Tensor<2>) -> Tensor<2> {
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let (m_key, v_key) = (format!("{name}#m"), format!("{name}#v"));
        let (shape, device) = (grad.dims(), grad.device());
        let m = self.take_state(&m_key, shape, &device) * beta1 as f32
            + grad.clone() * (1.0 - beta1) as f32;
        let v = self.take_state(&v_key, shape, &device) * beta2 as f32
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

    /// The whole update on the CPU, where memory is the limit: each value is read and written once.
    pub(super) fn adamw_in_place(
        &mut self,
        name: &str,
        mut weight: Tensor<2>,
        mut grad: Tensor<2>,
        lr: f64,
        grad_scale: f64,
    ) -> Tensor<2> {
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let step = AdamWStep {
            lr: lr as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            m_scale: (1.0 / (1.0 - beta1.powi(self.step as i32))) as f32,
            v_scale: (1.0 / (1.0 - beta2.powi(self.step as i32))) as f32,
            epsilon: EPSILON,
            weight_decay: self.config.weight_decay as f32,
            grad_scale: grad_scale as f32,
        };
        let (m_key, v_key) = (format!("{name}#m"), format!("{name}#v"));
        let (shape, device) = (grad.dims(), grad.device());
        let mut m = self.take_state(&m_key, shape, &device);
        let mut v = self.take_state(&v_key, shape, &device);
        with_values(&mut weight, |weight| {
            with_values(&mut grad, |grad| {
                with_values(&mut m, |m| with_values(&mut v, |v| step.apply(weight, grad, m, v)))
            })
        });
        self.state.insert(m_key, m);
        self.state.insert(v_key, v);
        weight
    }
}

#[cfg(test)]
mod tests {
    use crate::optimizer::Optimizer;
    use burn::tensor::{Device, Tensor};
    use rlaif_types::OptimizerConfig;

    #[test]
    fn both_paths_equal_the_formula() {
        let config = OptimizerConfig { weight_decay: 0.1, ..OptimizerConfig::default() };
        let matrix = |x: f64| Tensor::<2>::from_floats([[x as f32]], &Device::flex());
        let (mut in_place, mut composed) = (Optimizer::new(config.clone()), Optimizer::new(config));
        let (lr, grad_scale) = (0.01, 0.5);
        let (mut w, mut m, mut v) = (2.0_f64, 0.0_f64, 0.0_f64);
        let mut weight = matrix(w);
        for (step, g) in [(1, 0.5), (2, -0.25)] {
            let g = g * grad_scale;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(step)), v / (1.0 - 0.999_f64.powi(step)));
            let direction = m_hat / (v_hat.sqrt() + 1e-8);
            w = w * (1.0 - lr * 0.1) - lr * direction;

            composed.step = step as u64;
            let found = composed.adamw("w", matrix(g)).into_scalar::<f32>();
            assert!((f64::from(found) - direction).abs() < 1e-5, "{found} {direction}");

            in_place.step = step as u64;
            weight = in_place.adamw_in_place("w", weight, matrix(g / grad_scale), lr, grad_scale);
            let found = weight.clone().into_scalar::<f32>();
            assert!((f64::from(found) - w).abs() < 1e-6, "{found} {w}");
        }
    }
}
