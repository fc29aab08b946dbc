//! The operations a transformer is made of, each with a fast path on the CPU.
//!
//! On the CPU each function runs a fused kernel in f32 with a hand-written gradient, plugged into Burn as
//! a backend extension. On any other device, and in any other type, it is composed of Burn's own operations
//! ([`reference`]), whose fusion and gradients are Burn's. A test holds the two against each other.
//!
//! What is computed has the type of the activations; a weight is cast to it where it meets them.

mod attention_plan;
mod autodiff;
pub mod cpu;
mod flex;
pub mod reference;

pub use attention_plan::{AttentionPlan, Span};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use std::sync::Arc;

/// What the CPU backend does itself. Called through the functions of this module only.
#[backend_extension(Flex, Autodiff)]
pub trait CpuKernels: Backend {
    /// See [`linear`].
    fn linear_kernel(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`rms_norm`].
    fn rms_norm_kernel(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;
    /// See [`swiglu`].
    fn swiglu_kernel(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`rope`].
    fn rope_kernel(x: FloatTensor<Self>, angles: Angles) -> FloatTensor<Self>;
    /// See [`attention`].
    fn attention_kernel(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        plan: Arc<AttentionPlan>,
    ) -> FloatTensor<Self>;
    /// See [`token_logprobs`].
    fn token_logprobs_kernel(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: Arc<[u32]>,
        inverse_temperature: f32,
    ) -> FloatTensor<Self>;
}

/// Rotary angles of each row of a batch.
#[derive(Debug, Clone)]
pub struct Angles {
    /// Cosines, `[rows, head_dim / 2]`.
    pub cos: Arc<[f32]>,
    /// Sines, `[rows, head_dim / 2]`.
    pub sin: Arc<[f32]>,
    /// Width of one head.
    pub head_dim: usize,
}

/// True where the fused CPU kernels apply: f32 on the CPU.
pub fn is_fused<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex() && tensor.dtype() == DType::F32
}

/// Puts `tensor` on the tape `like` is on, as a constant. Burn refuses to mix the two kinds.
fn lift<const D: usize, const E: usize>(tensor: Tensor<D>, like: &Tensor<E>) -> Tensor<D> {
    if like.device().is_autodiff() && !tensor.device().is_autodiff() {
        Tensor::from_inner(tensor)
    } else {
        tensor
    }
}

/// `tensor` in the type `dtype`, which costs nothing where it has it.
pub(crate) fn in_type<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) }
}

/// `weight` as it can be applied to `x`, and `x`: both on the tape or both off it, in the type of `x`. So weights may
/// be finer than what is computed with them: their gradients come back in their own type (Micikevicius et al. 2018,
/// arXiv 1710.03740, section 3.1).
pub(crate) fn meet<const D: usize, const E: usize>(
    weight: Tensor<D>,
    x: Tensor<E>,
) -> (Tensor<D>, Tensor<E>) {
    let (weight, x) = both(weight, x);
    (in_type(weight, x.dtype()), x)
}

/// `x · weightᵀ`.
///
/// # Shapes
/// `x` `[rows, in]`, `weight` `[out, in]` as in checkpoints, result `[rows, out]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let (weight, x) = meet(weight, x);
    if !is_fused(&x) {
        return reference::linear(x, weight);
    }
    Tensor::from_dispatch(Dispatch::linear_kernel(x.into_dispatch(), weight.into_dispatch()))
}

/// Lifts whichever of two operands is a constant beside a tensor on the tape.
fn both<const D: usize, const E: usize>(a: Tensor<D>, b: Tensor<E>) -> (Tensor<D>, Tensor<E>) {
    let a = lift(a, &b);
    let b = lift(b, &a);
    (a, b)
}

/// `x / sqrt(mean(x²) + eps) · weight`, row by row.
///
/// # Shapes
/// `x` `[rows, width]`, `weight` `[width]`; reshape heads into rows to normalise each head.
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f32) -> Tensor<2> {
    let (weight, x) = meet(weight, x);
    if !is_fused(&x) {
        return reference::rms_norm(x, weight, eps);
    }
    Tensor::from_dispatch(Dispatch::rms_norm_kernel(x.into_dispatch(), weight.into_dispatch(), eps))
}

/// `silu(gate) · up`, element by element.
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    let (gate, up) = both(gate, up);
    if !is_fused(&gate) {
        return reference::swiglu(gate, up);
    }
    Tensor::from_dispatch(Dispatch::swiglu_kernel(gate.into_dispatch(), up.into_dispatch()))
}

/// Rotates every head of every row by the row's angles (half-rotation layout).
///
/// # Shapes
/// `x` `[rows, heads · head_dim]`.
pub fn rope(x: Tensor<2>, angles: &Angles) -> Tensor<2> {
    if !is_fused(&x) {
        let half = angles.head_dim / 2;
        let table = |values: &[f32]| {
            let data = burn::tensor::TensorData::new(values.to_vec(), [values.len() / half, half]);
            Tensor::<2>::from_data(data, &x.device()).cast(x.dtype())
        };
        let (cos, sin) = (table(&angles.cos), table(&angles.sin));
        return reference::rope(x, cos, sin, angles.head_dim);
    }
    Tensor::from_dispatch(Dispatch::rope_kernel(x.into_dispatch(), angles.clone()))
}

/// `softmax(q kᵀ / sqrt(head_dim)) v` with the visibility of `plan`.
///
/// # Shapes
/// `q` `[queries, num_heads · head_dim]`, `k` and `v` `[keys, num_kv_heads · head_dim]`, result
/// like `q`.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, plan: &Arc<AttentionPlan>) -> Tensor<2> {
    if !is_fused(&q) {
        return reference::attention(q, k, v, plan);
    }
    Tensor::from_dispatch(Dispatch::attention_kernel(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        plan.clone(),
    ))
}

/// `log softmax(hidden · weightᵀ · inverse_temperature)[target]`, row by row.
///
/// Neither `[rows, vocab]` logits nor their gradient outlive a block of rows on the CPU.
///
/// # Shapes
/// `hidden` `[rows, width]`, `weight` `[vocab, width]`, one target per row, result `[rows]`.
pub fn token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &[u32],
    inverse_temperature: f32,
) -> Tensor<1> {
    let (weight, hidden) = meet(weight, hidden);
    if !is_fused(&hidden) {
        return reference::token_logprobs(hidden, weight, targets, inverse_temperature);
    }
    Tensor::from_dispatch(Dispatch::token_logprobs_kernel(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into(),
        inverse_temperature,
    ))
}
