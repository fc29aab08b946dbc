//! A tensor's values: as a slice, for kernels that update them in place, and copied out, as numbers or as bytes.

use burn::tensor::{DType, Tensor, TensorData};

/// Runs `f` on the values of an `f32` tensor of the CPU and keeps what it makes of them.
///
/// Nothing is copied where `tensor` is the only owner of its memory.
///
/// # Panics
/// When the tensor is not one of `f32`.
pub fn with_values<R>(tensor: &mut Tensor<2>, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let device = tensor.device();
    let placeholder = Tensor::from_data(TensorData::new(vec![0f32], [1, 1]), &device);
    let mut data = std::mem::replace(tensor, placeholder).into_data();
    let result = f(data.as_mut_slice().expect("optimisers work in f32"));
    *tensor = Tensor::from_data(data, &device);
    result
}

/// A copy of a tensor's values as the bytes of `f32`s. The copy that is made where others have a share in the tensor's
/// memory is of bytes already, and is taken.
pub fn host_bytes<const D: usize>(tensor: Tensor<D>) -> Vec<u8> {
    let bytes = tensor.cast(DType::F32).into_data().into_bytes();
    bytes.try_into_vec::<u8>().unwrap_or_else(|bytes| bytes.to_vec())
}

/// A copy of a tensor's values.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let values = tensor.cast(DType::F32).into_data().into_vec();
    values.expect("a tensor cast to f32 holds f32 values")
}
