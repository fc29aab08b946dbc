//! The same operations composed of Burn's own, for every device but the CPU and as the reference
//! that the CPU kernels are tested against, values and gradients.

use super::AttentionPlan;
use burn::tensor::{DType, Int, Tensor, TensorData, activation};

/// See [`super::linear`].
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    x.matmul(weight.transpose())
}

/// See [`super::rms_norm`].
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f32) -> Tensor<2> {
    let dtype = x.dtype();
    // Squares are summed in f32 whatever the weights' type: bf16 has 8 bits of mantissa.
    let x = x.cast(DType::F32);
    let mean_square = (x.clone() * x.clone()).mean_dim(1);
    let normalised = x / (mean_square + eps).sqrt();
    normalised.cast(dtype) * weight.unsqueeze()
}

/// See [`super::swiglu`].
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    activation::silu(gate) * up
}

/// See [`super::rope`].
pub fn rope(x: Tensor<2>, cos: Tensor<2>, sin: Tensor<2>, head_dim: usize) -> Tensor<2> {
    let [rows, width] = x.dims();
    let (heads, half) = (width / head_dim, head_dim / 2);
    let x = x.reshape([rows, heads, head_dim]);
    let low = x.clone().slice([0..rows, 0..heads, 0..half]);
    let high = x.slice([0..rows, 0..heads, half..head_dim]);
    let cos = cos.reshape([rows, 1, half]);
    let sin = sin.reshape([rows, 1, half]);
    let turned_low = low.clone() * cos.clone() - high.clone() * sin.clone();
    let turned_high = high * cos + low * sin;
    Tensor::cat(vec![turned_low, turned_high], 2).reshape([rows, width])
}

/// See [`super::attention`].
///
/// Queries and keys are gathered into one padded block for the whole batch, `[spans, heads, queries,
/// keys]`: many small products become one large one, which is what a GPU wants. Only attention is
/// padded; the linear layers around it never are.
pub fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, plan: &AttentionPlan) -> Tensor<2> {
    let (h, d, spans) = (plan.num_heads, plan.head_dim, plan.spans.len());
    let device = q.device();
    let [q_rows, _] = q.dims();
    let t = plan.spans.iter().map(|s| s.queries.len()).max().unwrap_or(0);
    let l = plan.spans.iter().map(|s| s.num_keys()).max().unwrap_or(0);
    let mut q_index = vec![0i32; spans * t];
    let mut k_index = vec![0i32; spans * l];
    let mut hidden = vec![true; spans * t * l];
    let mut back = vec![0i32; q_rows];
    for (s, span) in plan.spans.iter().enumerate() {
        for (i, row) in span.queries.clone().enumerate() {
            q_index[s * t + i] = row as i32;
            back[row] = (s * t + i) as i32;
            hidden[(s * t + i) * l..][..span.prefix() + i + 1].fill(false);
        }
        for (i, row) in span.keys.iter().cloned().flatten().enumerate() {
            k_index[s * l + i] = row as i32;
        }
    }
    let indices = |values: Vec<i32>| {
        let len = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [len]), &device)
    };
    let k_index = indices(k_index);
    let q = q.select(0, indices(q_index)).reshape([spans, t, h, d]).swap_dims(1, 2);
    let keys = |x: Tensor<2>| {
        let x = x.select(0, k_index.clone()).reshape([spans, l, plan.num_kv_heads, 1, d]);
        let x = x.repeat_dim(3, plan.group()).reshape([spans, l, h, d]);
        x.swap_dims(1, 2)
    };
    let scores = q.matmul(keys(k).swap_dims(2, 3)) * plan.scale();
    let mask = Tensor::<4, burn::tensor::Bool>::from_data(
        TensorData::new(hidden, [spans, 1, t, l]),
        &device,
    );
    // A finite fill keeps the rows of padding, which see no key at all, free of NaN.
    let scores = scores.mask_fill(mask.expand([spans, h, t, l]), -1e9);
    let weights = softmax(scores);
    let out = weights.matmul(keys(v)).swap_dims(1, 2).reshape([spans * t, h * d]);
    out.select(0, indices(back))
}

/// Over the keys of `[spans, heads, queries, keys]`. In f32 whatever the queries' type, as in transformers'
/// eager attention: the sum over some hundred keys has no place in 8 bits of mantissa.
fn softmax(scores: Tensor<4>) -> Tensor<4> {
    match scores.dtype() {
        DType::F32 => activation::softmax(scores, 3),
        dtype => activation::softmax(scores.cast(DType::F32), 3).cast(dtype),
    }
}

/// See [`super::token_logprobs`].
pub fn token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: &[u32],
    inverse_temperature: f32,
) -> Tensor<1> {
    let device = hidden.device();
    let targets: Vec<i32> = targets.iter().map(|t| *t as i32).collect();
    let rows = targets.len();
    let index = Tensor::<2, Int>::from_data(TensorData::new(targets, [rows, 1]), &device);
    let logits = linear(hidden, weight).cast(DType::F32) * inverse_temperature;
    activation::log_softmax(logits, 1).gather(1, index).reshape([rows])
}
