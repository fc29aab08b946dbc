//! Models as HF folders.

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::formats::hf::{self, Head, NamedTensor};
use crate::parameters::ParamRef;
use crate::scalar_model::ScalarModel;
use crate::transformer::CausalLm;
use burn::tensor::{DType, Tensor};
use std::path::Path;

impl CausalLm {
    /// Writes the model, adapters folded in, as a folder that transformers loads, with the
    /// tokenizer and template of the checkpoint it came from.
    ///
    /// # Errors
    /// When writing fails; a folder that was there before is intact.
    pub fn save(&self, folder: &Path, origin: &Checkpoint) -> Result<(), Error> {
        let mut tensors = Vec::new();
        self.merged().for_each(&mut |name, param| tensors.push(named(name, &param)));
        let template = origin.chat_template.as_ref();
        hf::save(folder, &self.config, &origin.tokenizer, template, &tensors, Head::CausalLm)
    }
}

impl ScalarModel {
    /// Writes the model, adapters folded in, as a sequence-classification folder with one label.
    ///
    /// # Errors
    /// When writing fails; a folder that was there before is intact.
    pub fn save(&self, folder: &Path, origin: &Checkpoint) -> Result<(), Error> {
        let mut tensors = Vec::new();
        self.merged().for_each(&mut |name, param| tensors.push(named(name, &param)));
        let (config, template) = (&self.backbone.config, origin.chat_template.as_ref());
        hf::save(folder, config, &origin.tokenizer, template, &tensors, Head::Reward)
    }
}

fn named(name: &str, param: &ParamRef<'_>) -> NamedTensor {
    match param {
        ParamRef::Matrix(m) => (name.to_owned(), m.dims().to_vec(), values(m)),
        ParamRef::Vector(v) => (name.to_owned(), v.dims().to_vec(), values(v)),
    }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    let data = tensor.clone().cast(DType::F32).into_data();
    data.into_vec().expect("a tensor cast to f32 holds f32 values")
}
