//! The CPU kernels on Burn's CPU tensors.

use super::cpu::logprobs::Query;
use super::cpu::{attention, linear, rms_norm, rope, swiglu};
use super::{Angles, AttentionPlan, CpuKernels};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use std::sync::Arc;

/// A contiguous `f32` view of a tensor: free where it is one already.
pub(super) struct Contiguous(FlexTensor);

impl Contiguous {
    pub(super) fn of(tensor: &FlexTensor) -> Self {
        assert_eq!(tensor.dtype(), DType::F32, "CPU kernels compute in f32");
        Self(if tensor.is_contiguous() { tensor.clone() } else { tensor.to_contiguous() })
    }

    pub(super) fn values(&self) -> &[f32] {
        self.0.as_slice::<f32>().expect("the tensor was made contiguous f32")
    }
}

/// A tensor that takes over `values`.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The two dimensions of a matrix.
pub(super) fn dims(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.shape();
    [shape[0], shape[1]]
}

impl CpuKernels for Flex {
    fn linear_kernel(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let ([m, k], [n, width]) = (dims(&x), dims(&weight));
        assert_eq!(k, width, "a row of {k} values meets a weight of {width} columns");
        let (x, weight) = (Contiguous::of(&x), Contiguous::of(&weight));
        tensor(linear::matmul_t(x.values(), weight.values(), m, n, k), [m, n])
    }

    fn rms_norm_kernel(x: FlexTensor, weight: FlexTensor, eps: f32) -> FlexTensor {
        let shape = dims(&x);
        let (x, weight) = (Contiguous::of(&x), Contiguous::of(&weight));
        tensor(rms_norm::forward(x.values(), weight.values(), eps), shape)
    }

    fn swiglu_kernel(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        let shape = dims(&gate);
        let (gate, up) = (Contiguous::of(&gate), Contiguous::of(&up));
        tensor(swiglu::forward(gate.values(), up.values()), shape)
    }

    fn rope_kernel(x: FlexTensor, angles: Angles) -> FlexTensor {
        let shape = dims(&x);
        let x = Contiguous::of(&x);
        let out = rope::rotate(x.values(), &angles.cos, &angles.sin, angles.head_dim, false);
        tensor(out, shape)
    }

    fn attention_kernel(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        plan: Arc<AttentionPlan>,
    ) -> FlexTensor {
        let shape = dims(&q);
        let (q, k, v) = (Contiguous::of(&q), Contiguous::of(&k), Contiguous::of(&v));
        tensor(attention::forward(q.values(), k.values(), v.values(), &plan), shape)
    }

    fn token_logprobs_kernel(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: Arc<[u32]>,
        inverse_temperature: f32,
    ) -> FlexTensor {
        let [rows, width] = dims(&hidden);
        let (hidden, weight) = (Contiguous::of(&hidden), Contiguous::of(&weight));
        let query = Query {
            hidden: hidden.values(),
            weight: weight.values(),
            targets: &targets,
            width,
            inverse_temperature,
        };
        tensor(query.logprobs(), [rows])
    }
}
