//! The CPU kernels against the same operations composed of Burn's own: values and gradients.
//!
//! Both compute in f32 and differ only in the order of sums, so they agree to 2e-5 on values of
//! order one.

// Keys of a span are a list of ranges, even where it holds one.
#![allow(clippy::single_range_in_vec_init)]

use burn::tensor::{Device, Distribution, Tensor};
use rlaif_models::kernels::{self, Angles, AttentionPlan, Span, reference};
use std::sync::Arc;

const TOLERANCE: f32 = 2e-5;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex();
    Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &device)
}

fn assert_close<const D: usize>(name: &str, ours: Tensor<D>, theirs: Tensor<D>) {
    let difference = (ours - theirs).abs().max().into_scalar::<f32>();
    assert!(difference < TOLERANCE, "{name} differs by {difference}");
}

/// Runs `ours` and `theirs` on the same inputs and compares outputs and every gradient, weighting
/// the output with fixed random numbers so that no gradient is accidentally uniform.
fn compare<const D: usize>(
    name: &str,
    inputs: Vec<Tensor<2>>,
    ours: impl Fn(&[Tensor<2>]) -> Tensor<D>,
    theirs: impl Fn(&[Tensor<2>]) -> Tensor<D>,
) {
    let tracked = || -> Vec<Tensor<2>> {
        inputs.iter().map(|t| Tensor::from_inner(t.clone()).require_grad()).collect()
    };
    let (a, b) = (tracked(), tracked());
    let (out_a, out_b) = (ours(&a), theirs(&b));
    assert_close(name, out_a.clone().inner(), out_b.clone().inner());
    let weights = Tensor::from_inner(random(out_a.dims()));
    let grads_a = (out_a * weights.clone()).sum().backward();
    let grads_b = (out_b * weights).sum().backward();
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let (a, b) = (a.grad(&grads_a).unwrap(), b.grad(&grads_b).unwrap());
        assert_close(&format!("{name}: gradient {i}"), a, b);
    }
}

#[test]
fn linear_for_few_and_for_many_rows() {
    for rows in [1, 3, 8, 60] {
        compare(
            "linear",
            vec![random([rows, 40]), random([24, 40])],
            |t| kernels::linear(t[0].clone(), t[1].clone()),
            |t| reference::linear(t[0].clone(), t[1].clone()),
        );
    }
}

#[test]
fn rms_norm_over_rows() {
    compare(
        "rms_norm",
        vec![random([70, 33]), random([1, 33])],
        |t| kernels::rms_norm(t[0].clone(), t[1].clone().reshape([33]), 1e-5),
        |t| reference::rms_norm(t[0].clone(), t[1].clone().reshape([33]), 1e-5),
    );
}

#[test]
fn swiglu_gates() {
    compare(
        "swiglu",
        vec![random([9, 50]), random([9, 50])],
        |t| kernels::swiglu(t[0].clone(), t[1].clone()),
        |t| reference::swiglu(t[0].clone(), t[1].clone()),
    );
}

#[test]
fn rope_turns_halves() {
    let (rows, head_dim) = (6, 8);
    let angle = |i: usize| (i as f32) * 0.37;
    let table = |f: fn(f32) -> f32| (0..rows * head_dim / 2).map(|i| f(angle(i))).collect();
    let angles = Angles { cos: table(f32::cos), sin: table(f32::sin), head_dim };
    let tensors = |values: &[f32]| {
        let data = burn::tensor::TensorData::new(values.to_vec(), [rows, head_dim / 2]);
        Tensor::<2>::from_inner(Tensor::<2>::from_data(data, &Device::flex()))
    };
    let (cos, sin) = (tensors(&angles.cos), tensors(&angles.sin));
    compare(
        "rope",
        vec![random([rows, 3 * head_dim])],
        |t| kernels::rope(t[0].clone(), &angles),
        |t| reference::rope(t[0].clone(), cos.clone(), sin.clone(), head_dim),
    );
}

/// Two sequences that share a prefix, one alone, a single query, and one longer than a block.
fn ragged_plan() -> (Arc<AttentionPlan>, usize) {
    let span = |queries: std::ops::Range<usize>, keys: &[std::ops::Range<usize>]| Span {
        queries,
        keys: keys.to_vec(),
    };
    let plan = AttentionPlan {
        num_heads: 6,
        num_kv_heads: 2,
        head_dim: 8,
        spans: vec![
            span(0..5, &[0..5]),
            span(5..9, &[0..5, 5..9]),
            span(9..12, &[0..5, 9..12]),
            span(12..13, &[0..5, 5..9, 12..13]),
            span(13..113, &[13..113]),
        ],
    };
    (Arc::new(plan), 113)
}

#[test]
fn attention_over_a_ragged_batch_with_a_shared_prefix() {
    let (plan, rows) = ragged_plan();
    compare(
        "attention",
        vec![random([rows, 48]), random([rows, 16]), random([rows, 16])],
        |t| kernels::attention(t[0].clone(), t[1].clone(), t[2].clone(), &plan),
        |t| reference::attention(t[0].clone(), t[1].clone(), t[2].clone(), &plan),
    );
}

#[test]
fn token_logprobs_with_temperature() {
    let targets: Vec<u32> = (0..130).map(|i| (i * 7) % 41).collect();
    compare(
        "token_logprobs",
        vec![random([130, 12]), random([41, 12])],
        |t| kernels::token_logprobs(t[0].clone(), t[1].clone(), &targets, 1.25),
        |t| reference::token_logprobs(t[0].clone(), t[1].clone(), &targets, 1.25),
    );
}

#[test]
fn a_frozen_weight_costs_no_gradient_but_passes_it_on() {
    let x = Tensor::from_inner(random([4, 10])).require_grad();
    let weight = random([6, 10]);
    let out = kernels::linear(x.clone(), weight.clone());
    let dx = x.grad(&out.sum().backward()).unwrap();
    assert_close("dx", dx, weight.sum_dim(0).expand([4, 10]));
}
