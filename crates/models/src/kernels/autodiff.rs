//! Gradients of the CPU kernels, registered on Burn's tape.

use super::cpu::logprobs::Query;
use super::cpu::{attention, linear, rms_norm, rope, swiglu};
use super::flex::{Contiguous, dims, tensor};
use super::{Angles, AttentionPlan, CpuKernels};
use burn::backend::Flex;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn_flex::FlexTensor;
use std::sync::Arc;

type Taped<C> = FloatTensor<Autodiff<Flex, C>>;

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 2> for LinearBackward {
    type State = (Option<FlexTensor>, FlexTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let ([x_node, weight_node], (x, weight)) = (ops.parents, ops.state);
        let ([m, n], [_, k]) = (dims(&grad), dims(&weight));
        let grad = Contiguous::of(&grad);
        if let Some(node) = x_node {
            let weight = Contiguous::of(&weight);
            let dx = linear::matmul(grad.values(), weight.values(), m, n, k);
            grads.register::<Flex>(node.id, tensor(dx, [m, k]));
        }
        if let Some(node) = weight_node {
            let x = Contiguous::of(&x.expect("the input is kept when the weight is trained"));
            let dw = linear::matmul_tn(grad.values(), x.values(), m, n, k);
            grads.register::<Flex>(node.id, tensor(dw, [n, k]));
        }
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = (FlexTensor, FlexTensor, f32);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let ([x_node, weight_node], (x, weight, eps)) = (ops.parents, ops.state);
        let shape = dims(&x);
        let (grad, x, weight) =
            (Contiguous::of(&grad), Contiguous::of(&x), Contiguous::of(&weight));
        let (dx, dw) = rms_norm::backward(
            x.values(),
            weight.values(),
            eps,
            grad.values(),
            weight_node.is_some(),
        );
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(dx, shape));
        }
        if let (Some(node), Some(dw)) = (weight_node, dw) {
            grads.register::<Flex>(node.id, tensor(dw, [shape[1]]));
        }
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 2> for SwigluBackward {
    type State = (FlexTensor, FlexTensor);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let ([gate_node, up_node], (gate, up)) = (ops.parents, ops.state);
        let shape = dims(&gate);
        let (grad, gate, up) = (Contiguous::of(&grad), Contiguous::of(&gate), Contiguous::of(&up));
        let (dgate, dup) = swiglu::backward(gate.values(), up.values(), grad.values());
        if let Some(node) = gate_node {
            grads.register::<Flex>(node.id, tensor(dgate, shape));
        }
        if let Some(node) = up_node {
            grads.register::<Flex>(node.id, tensor(dup, shape));
        }
    }
}

#[derive(Debug)]
struct RopeBackward;

impl Backward<Flex, 1> for RopeBackward {
    type State = Angles;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let ([node], angles) = (ops.parents, ops.state);
        if let Some(node) = node {
            let shape = dims(&grad);
            let grad = Contiguous::of(&grad);
            // A rotation's transpose is the rotation back.
            let dx = rope::rotate(grad.values(), &angles.cos, &angles.sin, angles.head_dim, true);
            grads.register::<Flex>(node.id, tensor(dx, shape));
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    type State = (FlexTensor, FlexTensor, FlexTensor, Arc<AttentionPlan>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (parents, (q, k, v, plan)) = (ops.parents, ops.state);
        let shapes = [dims(&q), dims(&k), dims(&v)];
        let (grad, q, k, v) =
            (Contiguous::of(&grad), Contiguous::of(&q), Contiguous::of(&k), Contiguous::of(&v));
        let (dq, dk, dv) =
            attention::backward(q.values(), k.values(), v.values(), &plan, grad.values());
        for ((node, values), shape) in parents.into_iter().zip([dq, dk, dv]).zip(shapes) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, shape));
            }
        }
    }
}

#[derive(Debug)]
struct TokenLogprobsBackward;

/// What the backward pass of the log-probabilities needs.
#[derive(Debug, Clone)]
struct TokenLogprobsState {
    /// Gradient of each row's log-probability towards its hidden row.
    per_row: FlexTensor,
    /// Inputs, kept only when the head itself is trained.
    head: Option<(FlexTensor, FlexTensor)>,
    targets: Arc<[u32]>,
    inverse_temperature: f32,
}

impl Backward<Flex, 2> for TokenLogprobsBackward {
    type State = TokenLogprobsState;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let ([hidden_node, weight_node], state) = (ops.parents, ops.state);
        let grad = Contiguous::of(&grad);
        let [rows, width] = dims(&state.per_row);
        if let Some(node) = hidden_node {
            let per_row = Contiguous::of(&state.per_row);
            let mut dhidden = per_row.values().to_vec();
            for (row, grad) in dhidden.chunks_exact_mut(width).zip(grad.values()) {
                row.iter_mut().for_each(|v| *v *= grad);
            }
            grads.register::<Flex>(node.id, tensor(dhidden, [rows, width]));
        }
        if let (Some(node), Some((hidden, weight))) = (weight_node, state.head) {
            let shape = dims(&weight);
            let (hidden, weight) = (Contiguous::of(&hidden), Contiguous::of(&weight));
            let query = Query {
                hidden: hidden.values(),
                weight: weight.values(),
                targets: &state.targets,
                width,
                inverse_temperature: state.inverse_temperature,
            };
            grads.register::<Flex>(node.id, tensor(query.weight_gradient(grad.values()), shape));
        }
    }
}

impl<C: CheckpointStrategy> CpuKernels for Autodiff<Flex, C> {
    fn linear_kernel(x: Taped<C>, weight: Taped<C>) -> Taped<C> {
        let output = Flex::linear_kernel(x.primitive.clone(), weight.primitive.clone());
        // A frozen weight, which is most of them under LoRA, needs no input kept.
        let keep = !weight.node.requirement.is_none();
        match LinearBackward.prepare::<C>([x.node, weight.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((keep.then_some(x.primitive), weight.primitive), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn rms_norm_kernel(x: Taped<C>, weight: Taped<C>, eps: f32) -> Taped<C> {
        let output = Flex::rms_norm_kernel(x.primitive.clone(), weight.primitive.clone(), eps);
        match RmsNormBackward.prepare::<C>([x.node, weight.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.primitive, weight.primitive, eps), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn swiglu_kernel(gate: Taped<C>, up: Taped<C>) -> Taped<C> {
        let output = Flex::swiglu_kernel(gate.primitive.clone(), up.primitive.clone());
        match SwigluBackward.prepare::<C>([gate.node, up.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((gate.primitive, up.primitive), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn rope_kernel(x: Taped<C>, angles: Angles) -> Taped<C> {
        let output = Flex::rope_kernel(x.primitive, angles.clone());
        match RopeBackward.prepare::<C>([x.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(angles, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn attention_kernel(
        q: Taped<C>,
        k: Taped<C>,
        v: Taped<C>,
        plan: Arc<AttentionPlan>,
    ) -> Taped<C> {
        let output = Flex::attention_kernel(
            q.primitive.clone(),
            k.primitive.clone(),
            v.primitive.clone(),
            plan.clone(),
        );
        match AttentionBackward.prepare::<C>([q.node, k.node, v.node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((q.primitive, k.primitive, v.primitive, plan), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn token_logprobs_kernel(
        hidden: Taped<C>,
        weight: Taped<C>,
        targets: Arc<[u32]>,
        inverse_temperature: f32,
    ) -> Taped<C> {
        let [rows, width] = dims(&hidden.primitive);
        let keep = !weight.node.requirement.is_none();
        let (h, w) = (Contiguous::of(&hidden.primitive), Contiguous::of(&weight.primitive));
        let query = Query {
            hidden: h.values(),
            weight: w.values(),
            targets: &targets,
            width,
            inverse_temperature,
        };
        let prep = TokenLogprobsBackward.prepare::<C>([hidden.node, weight.node]);
        match prep.compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (logprobs, per_row) = query.logprobs_and_hidden_gradient();
                let state = TokenLogprobsState {
                    per_row: tensor(per_row, [rows, width]),
                    head: keep.then_some((hidden.primitive, weight.primitive)),
                    targets,
                    inverse_temperature,
                };
                prep.finish(state, tensor(logprobs, [rows]))
            }
            OpsKind::UnTracked(prep) => prep.finish(tensor(query.logprobs(), [rows])),
        }
    }
}
