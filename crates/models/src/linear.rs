//! A linear layer, with an optional low-rank adapter beside its frozen weight.

use crate::kernels;
use crate::lora::LoraPair;
use crate::parameters::{ParamMut, ParamRef};
use burn::tensor::Tensor;

/// `y = x Wᵀ + b`, plus `scale · (x Aᵀ) Bᵀ` where a LoRA adapter is attached.
#[derive(Debug, Clone)]
pub struct Linear {
    /// HF name without `.weight`, the identity of its parameters.
    pub name: String,
    /// `[out, in]`.
    pub weight: Tensor<2>,
    /// `[out]`.
    pub bias: Option<Tensor<1>>,
    /// The adapter.
    pub lora: Option<LoraPair>,
}

impl Linear {
    /// Applies the layer to `x` `[rows, in]`; result `[rows, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let mut y = kernels::linear(x.clone(), self.weight.clone());
        if let Some(lora) = &self.lora {
            y = y + lora.forward(x);
        }
        match &self.bias {
            Some(bias) => {
                let (bias, y) = kernels::meet(bias.clone(), y);
                y + bias.unsqueeze()
            }
            None => y,
        }
    }

    /// Applies `f` to every tensor of the layer with its name: weight, bias, adapter.
    pub(crate) fn for_each(&self, f: &mut dyn FnMut(&str, ParamRef<'_>)) {
        f(&format!("{}.weight", self.name), ParamRef::Matrix(&self.weight));
        if let Some(bias) = &self.bias {
            f(&format!("{}.bias", self.name), ParamRef::Vector(bias));
        }
        if let Some(lora) = &self.lora {
            f(&format!("{}.lora_A.weight", self.name), ParamRef::Matrix(&lora.a));
            f(&format!("{}.lora_B.weight", self.name), ParamRef::Matrix(&lora.b));
        }
    }

    /// As [`Linear::for_each`], with write access.
    pub(crate) fn for_each_mut(&mut self, f: &mut dyn FnMut(&str, ParamMut<'_>)) {
        f(&format!("{}.weight", self.name), ParamMut::Matrix(&mut self.weight));
        if let Some(bias) = &mut self.bias {
            f(&format!("{}.bias", self.name), ParamMut::Vector(bias));
        }
        if let Some(lora) = &mut self.lora {
            f(&format!("{}.lora_A.weight", self.name), ParamMut::Matrix(&mut lora.a));
            f(&format!("{}.lora_B.weight", self.name), ParamMut::Matrix(&mut lora.b));
        }
    }

    /// Folds the adapter into the weight.
    pub(crate) fn merge(&mut self) {
        if let Some(lora) = self.lora.take() {
            self.weight = self.weight.clone() + lora.delta();
        }
    }
}
