//! A trainer's state as bytes: tensors and counters by name, in safetensors.
//!
//! A state is as large as a trainer, so it is never in memory a second time as numbers: one that is saved shares the
//! trainer's tensors until it is bytes, and one that was read is its bytes until a trainer takes a tensor out.

use crate::values::{host, host_bytes};
use burn::tensor::{Device, Tensor, TensorData};
use bytes::Bytes;
use rlaif_models::allocator::give_back_freed_memory;
use rlaif_models::{ParamMut, ParamRef, Parameters};
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// A state that does not fit the trainer it is given to.
#[derive(Debug, thiserror::Error)]
#[error("the saved training state does not fit: {0}")]
pub struct StateError(String);

/// Named tensors and counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainerState {
    tensors: BTreeMap<String, Kept>,
    numbers: BTreeMap<String, u64>,
}

/// A tensor of a state.
#[derive(Debug, Clone)]
struct Kept {
    shape: Vec<usize>,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    /// Of a trainer, which goes on with memory of its own when it changes them.
    Shared(Tensor<1>),
    /// A part of the file that was read: `f32` in little-endian order.
    Read(Bytes),
}

impl Kept {
    fn values(&self) -> Vec<f32> {
        match &self.values {
            Values::Shared(tensor) => host(tensor.clone()),
            Values::Read(bytes) => {
                let values = bytes.chunks_exact(4);
                values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
        }
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.values() == other.values()
    }
}

impl View for &Kept {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.values {
            Values::Shared(tensor) => Cow::Owned(host_bytes(tensor.clone())),
            Values::Read(bytes) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

impl TrainerState {
    /// As a safetensors file; counters are its metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers: HashMap<String, String> =
            self.numbers.iter().map(|(name, n)| (name.clone(), n.to_string())).collect();
        give_back_freed_memory();
        safetensors::serialize(&self.tensors, Some(numbers)).expect("writing to memory cannot fail")
    }

    /// Reads what [`TrainerState::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, StateError> {
        let bytes = bytes.into();
        let broken = |e: &dyn std::fmt::Display| StateError(e.to_string());
        let parsed = SafeTensors::deserialize(&bytes).map_err(|e| broken(&e))?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| broken(&e))?;
        let mut state = Self::default();
        for (name, view) in parsed.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(StateError(format!("{name} is not f32")));
            }
            let values = Values::Read(bytes.slice_ref(view.data()));
            state.tensors.insert(name, Kept { shape: view.shape().to_vec(), values });
        }
        for (name, text) in metadata.metadata().iter().flatten() {
            state.numbers.insert(name.clone(), text.parse().map_err(|e| broken(&e))?);
        }
        Ok(state)
    }

    /// Keeps a counter.
    pub fn put_number(&mut self, name: &str, value: u64) {
        self.numbers.insert(name.to_owned(), value);
    }

    /// A kept counter.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn number(&self, name: &str) -> Result<u64, StateError> {
        self.numbers.get(name).copied().ok_or_else(|| StateError(format!("no {name}")))
    }

    /// Keeps a number with all its bits.
    pub fn put_float(&mut self, name: &str, value: f64) {
        self.put_number(name, value.to_bits());
    }

    /// A number kept by [`TrainerState::put_float`].
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn float(&self, name: &str) -> Result<f64, StateError> {
        self.number(name).map(f64::from_bits)
    }

    /// Keeps a tensor.
    pub fn put_tensor<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        let shape = tensor.dims().to_vec();
        let values = Values::Shared(tensor.clone().flatten(0, D - 1));
        self.tensors.insert(name.to_owned(), Kept { shape, values });
    }

    /// Keeps every trainable parameter of a model, under `prefix`.
    pub fn put_parameters(&mut self, prefix: &str, model: &impl Parameters) {
        model.visit_trainable(&mut |name, param| {
            let name = format!("{prefix}.{name}");
            match param {
                ParamRef::Matrix(m) => self.put_tensor(&name, &m.clone().inner()),
                ParamRef::Vector(v) => self.put_tensor(&name, &v.clone().inner()),
            }
        });
    }

    /// Puts kept parameters back into a model.
    ///
    /// # Errors
    /// When one is missing or has another shape.
    pub fn load_parameters(
        &self,
        prefix: &str,
        model: &mut impl Parameters,
    ) -> Result<(), StateError> {
        let mut result = Ok(());
        model.map_trainable(&mut |name, param| {
            let name = format!("{prefix}.{name}");
            let loaded = match param {
                ParamMut::Matrix(m) => self
                    .tensor(&name, m.dims(), &m.device().inner())
                    .map(|t| *m = Tensor::from_inner(t).require_grad()),
                ParamMut::Vector(v) => self
                    .tensor(&name, v.dims(), &v.device().inner())
                    .map(|t| *v = Tensor::from_inner(t).require_grad()),
            };
            if result.is_ok() {
                result = loaded;
            }
        });
        result
    }

    /// All kept tensors whose name begins with `prefix`, which is taken off: name, shape, values.
    pub fn tensors_under(&self, prefix: &str) -> impl Iterator<Item = (&str, &[usize], Vec<f32>)> {
        let tensors = self.tensors.iter();
        tensors.filter_map(move |(name, kept)| {
            Some((name.strip_prefix(prefix)?, &kept.shape[..], kept.values()))
        })
    }

    /// All kept matrices whose name begins with `prefix`, which is taken off.
    pub(crate) fn matrices_under(
        &self,
        prefix: &str,
        device: &Device,
    ) -> Result<BTreeMap<String, Tensor<2>>, StateError> {
        let names = self.tensors.keys().filter_map(|name| name.strip_prefix(prefix));
        names
            .map(|name| {
                let full = format!("{prefix}{name}");
                let shape: [usize; 2] = self.tensors[&full]
                    .shape
                    .as_slice()
                    .try_into()
                    .map_err(|_| StateError(format!("{full} is not a matrix")))?;
                Ok((name.to_owned(), self.tensor(&full, shape, device)?))
            })
            .collect()
    }

    fn tensor<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Tensor<D>, StateError> {
        let kept = self.tensors.get(name).ok_or_else(|| StateError(format!("no {name}")))?;
        if kept.shape != shape {
            return Err(StateError(format!("{name} has shape {:?}, not {shape:?}", kept.shape)));
        }
        Ok(Tensor::from_data(TensorData::new(kept.values(), shape), device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_comes_back_bit_for_bit() {
        let mut state = TrainerState::default();
        let tensor = Tensor::<2>::from_floats([[1.0e-30, -0.1], [3.0, f32::MAX]], &Device::flex());
        state.put_tensor("opt.w#m", &tensor);
        state.put_number("opt.step", u64::MAX);
        state.put_float("beta", 0.1 + 0.2);
        let again = TrainerState::from_bytes(state.to_bytes()).unwrap();
        assert_eq!(again, state);
        assert_eq!(again.to_bytes().len(), state.to_bytes().len());
        assert_eq!(again.float("beta").unwrap(), 0.1 + 0.2);
        assert!(again.number("value.step").is_err());
        assert!(TrainerState::from_bytes(&b"no safetensors"[..]).is_err());
    }
    /// A tensor is shared with the trainer that goes on to change it.
    #[test]
    fn a_state_stays_what_it_was_when_it_was_saved() {
        let mut state = TrainerState::default();
        let mut weights = Tensor::<2>::from_floats([[1.0, 2.0]], &Device::flex());
        state.put_tensor("w", &weights);
        crate::values::with_values(&mut weights, |values| values.fill(9.0));
        assert_eq!(state.tensors["w"].values(), [1.0, 2.0]);
        assert_eq!(host(weights), [9.0, 9.0]);
    }
}
