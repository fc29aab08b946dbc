//! How much memory a model takes, from its configuration alone: weights, what training keeps, keys and values.
//!
//! Everything is f32, and what training keeps is counted as the CPU kernels keep it (`kernels/autodiff.rs`).

use crate::checkpoint::expected_tensors;
use crate::config::ModelConfig;
use crate::transformer::Trainable;
use rlaif_types::LoraConfig;

/// Bytes of one number.
const F32: u64 = 4;

/// Bytes that a model takes.
#[derive(Debug, Clone, Copy)]
pub struct Footprint<'a>(pub &'a ModelConfig);

impl Footprint<'_> {
    /// All weights.
    pub fn weights(&self) -> u64 {
        F32 * expected_tensors(self.0).iter().map(|(_, shape)| product(shape)).sum::<u64>()
    }

    /// The parameters that training changes; their gradients take as much.
    pub fn trained(&self, what: &Trainable) -> u64 {
        match what {
            Trainable::Full => self.weights(),
            Trainable::Lora(lora) => {
                let widths: u64 = self.adapted(lora).iter().map(|[out, input]| out + input).sum();
                F32 * lora.rank as u64 * widths
            }
        }
    }

    /// The weights that are others than the start's once training is folded in.
    pub fn merged(&self, what: &Trainable) -> u64 {
        match what {
            Trainable::Full => self.weights(),
            Trainable::Lora(lora) => {
                F32 * self.adapted(lora).iter().map(|[out, input]| out * input).sum::<u64>()
            }
        }
    }

    /// What a pass over `tokens` keeps until its gradients are there; with gradient checkpointing, what goes into
    /// each layer and the inside of one.
    pub fn activations(&self, tokens: usize, checkpointing: bool) -> u64 {
        let layers = self.0.num_hidden_layers as u64;
        let (hidden, layer) = (self.0.hidden_size as u64, self.per_layer());
        let kept = match checkpointing {
            true => layers * hidden + layer,
            false => layers * layer,
        };
        // Embedded rows, the last norm's, and the head's with their gradients; and the gradients of one layer.
        F32 * tokens as u64 * (kept + 5 * hidden + layer)
    }

    /// Keys and values of so many tokens.
    pub fn keys_and_values(&self, tokens: usize) -> u64 {
        F32 * 2 * (self.0.num_hidden_layers * self.0.kv_size()) as u64 * tokens as u64
    }

    /// Numbers that a layer keeps of each token: what its norms and linear layers read, queries, keys and values,
    /// what attention gave, gate, up and their product.
    fn per_layer(&self) -> u64 {
        let (hidden, inner) = (self.0.hidden_size, self.0.intermediate_size);
        let (q, kv) = (self.0.q_size(), self.0.kv_size());
        let before_head_norms = if self.0.qk_norm { q + kv } else { 0 };
        (4 * hidden + 2 * q + 2 * kv + 3 * inner + before_head_norms) as u64
    }

    /// Shapes of the layers that get adapters, `[out, in]`.
    fn adapted(&self, lora: &LoraConfig) -> Vec<[u64; 2]> {
        let tensors = expected_tensors(self.0).into_iter();
        let shapes = tensors.filter_map(|(name, shape)| match shape[..] {
            [out, input] if lora.applies_to(name.strip_suffix(".weight")?) => {
                Some([out as u64, input as u64])
            }
            _ => None,
        });
        shapes.collect()
    }
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalLm, Checkpoint, DeviceName, Parameters};
    use burn::tensor::DType;
    use std::path::Path;

    /// Weights and what is trained are counted; the rest is measured, see docs/explanation/memory.md.
    #[test]
    fn what_is_said_of_weights_is_what_a_model_has() {
        for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
            let folder =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
            let checkpoint = Checkpoint::open(&folder).unwrap();
            let device = DeviceName::Cpu.open().unwrap();
            let model = CausalLm::load(&checkpoint, &device, DType::F32).unwrap();
            let footprint = Footprint(&checkpoint.config);
            assert_eq!(footprint.weights(), 4 * model.num_parameters(), "{name}");
            let targets = ["q_proj", "up_proj"].map(str::to_owned).to_vec();
            for what in [
                Trainable::Full,
                Trainable::Lora(LoraConfig { rank: 3, ..LoraConfig::default() }),
                Trainable::Lora(LoraConfig { rank: 2, targets, ..LoraConfig::default() }),
            ] {
                let mut trained = 0;
                let model = model.trainable(&what);
                model.visit_trainable(&mut |_, param| trained += 4 * param.num_elements() as u64);
                assert_eq!(footprint.trained(&what), trained, "{name}, {what:?}");
            }
        }
    }

    #[test]
    fn checkpointing_keeps_one_layer_and_the_inputs_of_the_others() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-llama");
        let config = Checkpoint::open(&folder).unwrap().config;
        let config = ModelConfig { num_hidden_layers: 30, ..config };
        let footprint = Footprint(&config);
        assert!(footprint.activations(100, true) * 3 < footprint.activations(100, false));
    }
}
