//! Low-rank adaptation (Hu et al. 2021): trains `W + (alpha / rank) · B A` with `W` frozen.

use crate::kernels;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_types::LoraConfig;

/// The two factors of one adapter.
#[derive(Debug, Clone)]
pub struct LoraPair {
    /// `[rank, in]`.
    pub a: Tensor<2>,
    /// `[out, rank]`.
    pub b: Tensor<2>,
    /// `alpha / rank`.
    pub scale: f32,
}

impl LoraPair {
    /// A fresh adapter for the layer `name` of shape `[out, in]`: A uniform in `±1/sqrt(in)` as
    /// PEFT draws it, B zero. The draw depends on the seed and the name only, not on the order in
    /// which layers are visited.
    pub(crate) fn init(
        config: &LoraConfig,
        name: &str,
        [out, input]: [usize; 2],
        device: &Device,
    ) -> Self {
        let name_hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ name_hash);
        let bound = 1.0 / (input as f32).sqrt();
        let a: Vec<f32> = (0..config.rank * input)
            .map(|_| (rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0) * bound)
            .collect();
        Self {
            a: Tensor::from_data(TensorData::new(a, [config.rank, input]), device),
            b: Tensor::zeros([out, config.rank], device),
            scale: (config.alpha / config.rank as f64) as f32,
        }
    }

    /// `scale · (x Aᵀ) Bᵀ`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let low = kernels::linear(x, self.a.clone());
        kernels::linear(low * self.scale, self.b.clone())
    }

    /// The update of the weight, `scale · B A`.
    pub(crate) fn delta(&self) -> Tensor<2> {
        self.b.clone().matmul(self.a.clone()) * self.scale
    }
}
