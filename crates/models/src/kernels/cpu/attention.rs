//! Causal attention over a ragged batch with shared prefixes, by blocks of queries.
//!
//! Scores of one block, `[BLOCK, keys]`, are the largest thing in memory. Keys and values are read
//! where they lie, range by range, so a prefix shared by many sequences is never copied.

use super::linear::gemm_into;
use super::math::{axpy, dot, exp_and_sum, max};
use super::simd::vectorised;
use crate::kernels::{AttentionPlan, Span};
use rayon::prelude::*;
use std::ops::Range;

/// Queries whose scores are held together.
const BLOCK: usize = 64;

/// `softmax(q kᵀ / sqrt(d)) v` for every query row; `[rows(q), num_heads · head_dim]`.
pub fn forward(q: &[f32], k: &[f32], v: &[f32], plan: &AttentionPlan) -> Vec<f32> {
    let width = plan.q_width();
    let mut out = vec![0f32; q.len()];
    let (single, several): (Vec<&Span>, Vec<&Span>) =
        plan.spans.iter().partition(|span| span.queries.len() == 1);

    let rows: Vec<(usize, Vec<f32>)> = single
        .par_iter()
        .map(|span| (span.queries.start, one_query(q, k, v, plan, span)))
        .collect();
    for (row, values) in rows {
        out[row * width..(row + 1) * width].copy_from_slice(&values);
    }

    let tasks: Vec<(&Span, usize, Range<usize>)> = several
        .into_iter()
        .flat_map(|span| {
            let blocks = blocks(span.queries.len());
            blocks.flat_map(move |block| (0..plan.num_heads).map(move |h| (span, h, block.clone())))
        })
        .collect();
    let done: Vec<Vec<f32>> = tasks
        .par_iter()
        .map(|(span, head, block)| query_block(q, k, v, plan, span, *head, block.clone()))
        .collect();
    for ((span, head, block), values) in tasks.iter().zip(done) {
        scatter_head(&mut out, width, span.queries.start + block.start, *head, plan, &values);
    }
    out
}

/// `0..len` in runs of [`BLOCK`].
fn blocks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(len))
}

/// Copies `[rows, head_dim]` into the columns of one head, from row `first` on.
fn scatter_head(
    out: &mut [f32],
    width: usize,
    first: usize,
    head: usize,
    plan: &AttentionPlan,
    values: &[f32],
) {
    let d = plan.head_dim;
    for (i, row) in values.chunks_exact(d).enumerate() {
        let start = (first + i) * width + head * d;
        out[start..start + d].copy_from_slice(row);
    }
}

/// All heads of a lone query, the shape of decoding: dot products, no matrices.
fn one_query(q: &[f32], k: &[f32], v: &[f32], plan: &AttentionPlan, span: &Span) -> Vec<f32> {
    let (d, kv_width, scale) = (plan.head_dim, plan.kv_width(), plan.scale());
    let q = &q[span.queries.start * plan.q_width()..][..plan.q_width()];
    let mut out = vec![0f32; plan.q_width()];
    let mut scores = vec![0f32; span.num_keys()];
    vectorised(
        #[inline(always)]
        || {
            for (head, (q, out)) in q.chunks_exact(d).zip(out.chunks_exact_mut(d)).enumerate() {
                let column = head / plan.group() * d;
                let rows = || span.keys.iter().cloned().flatten();
                for (score, row) in scores.iter_mut().zip(rows()) {
                    *score = dot(q, &k[row * kv_width + column..][..d]);
                }
                let top = max(&scores) * scale;
                let inverse = 1.0 / exp_and_sum(&mut scores, scale, top);
                for (score, row) in scores.iter().zip(rows()) {
                    axpy(score * inverse, &v[row * kv_width + column..][..d], out);
                }
            }
        },
    );
    out
}

/// Softmax weights of one head for a block of queries, `[block, keys]`; keys a query must not see
/// have weight zero.
fn weights(
    q: &[f32],
    k: &[f32],
    plan: &AttentionPlan,
    span: &Span,
    head: usize,
    block: Range<usize>,
) -> Vec<f32> {
    let (d, kv_width, scale) = (plan.head_dim, plan.kv_width(), plan.scale());
    let (rows, keys) = (block.len(), visible_keys(span, &block));
    let mut weights = vec![0f32; rows * keys];
    let q = &q[(span.queries.start + block.start) * plan.q_width() + head * d..];
    for_each_range(span, keys, |column, range| {
        gemm_into(
            &mut weights[column..],
            keys as isize,
            (rows, range.len(), d),
            (q, plan.q_width() as isize, 1),
            (&k[range.start * kv_width + head / plan.group() * d..], 1, kv_width as isize),
            0.0,
            gemm::Parallelism::None,
        );
    });
    vectorised(
        #[inline(always)]
        || {
            for (i, row) in weights.chunks_exact_mut(keys).enumerate() {
                let (seen, hidden) = row.split_at_mut(span.prefix() + block.start + i + 1);
                let top = max(seen) * scale;
                let inverse = 1.0 / exp_and_sum(seen, scale, top);
                for weight in seen {
                    *weight *= inverse;
                }
                hidden.fill(0.0);
            }
        },
    );
    weights
}

/// Keys that the last query of `block` sees; the others need no work.
fn visible_keys(span: &Span, block: &Range<usize>) -> usize {
    span.prefix() + block.end
}

/// Calls `f(first column, key rows)` for each key range, up to `keys` columns.
fn for_each_range(span: &Span, keys: usize, mut f: impl FnMut(usize, Range<usize>)) {
    let mut column = 0;
    for range in &span.keys {
        let len = range.len().min(keys - column);
        if len > 0 {
            f(column, range.start..range.start + len);
        }
        column += len;
    }
}

/// One head for a block of queries: `[block, head_dim]`.
fn query_block(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    plan: &AttentionPlan,
    span: &Span,
    head: usize,
    block: Range<usize>,
) -> Vec<f32> {
    let (d, kv_width) = (plan.head_dim, plan.kv_width());
    let (rows, keys) = (block.len(), visible_keys(span, &block));
    let weights = weights(q, k, plan, span, head, block);
    let mut out = vec![0f32; rows * d];
    for_each_range(span, keys, |column, range| {
        gemm_into(
            &mut out,
            d as isize,
            (rows, d, range.len()),
            (&weights[column..], keys as isize, 1),
            (&v[range.start * kv_width + head / plan.group() * d..], kv_width as isize, 1),
            1.0,
            gemm::Parallelism::None,
        );
    });
    out
}

/// Gradients towards q, k and v.
///
/// Weights are computed again, block by block, instead of being kept from the forward pass.
pub fn backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    plan: &AttentionPlan,
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let (q_width, kv_width, d) = (plan.q_width(), plan.kv_width(), plan.head_dim);
    let (mut dq, mut dk, mut dv) = (vec![0f32; q.len()], vec![0f32; k.len()], vec![0f32; v.len()]);
    let tasks: Vec<(&Span, usize)> = plan
        .spans
        .iter()
        .flat_map(|span| (0..plan.num_heads).map(move |head| (span, head)))
        .collect();
    let done: Vec<HeadGradients> = tasks
        .par_iter()
        .map(|(span, head)| head_backward(q, k, v, plan, span, *head, grad))
        .collect();
    // Query heads of a group, and spans with a common prefix, add into the same key rows; adding
    // here, in task order, keeps the sums reproducible.
    for ((span, head), done) in tasks.iter().zip(done) {
        scatter_head(&mut dq, q_width, span.queries.start, *head, plan, &done.dq);
        let column = head / plan.group() * d;
        for (i, row) in span.keys.iter().cloned().flatten().enumerate() {
            let start = row * kv_width + column;
            let from = i * d..(i + 1) * d;
            axpy(1.0, &done.dk[from.clone()], &mut dk[start..start + d]);
            axpy(1.0, &done.dv[from], &mut dv[start..start + d]);
        }
    }
    (dq, dk, dv)
}

/// Gradients of one head of one span: queries in row order, keys in the span's key order.
struct HeadGradients {
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
}

fn head_backward(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    plan: &AttentionPlan,
    span: &Span,
    head: usize,
    grad: &[f32],
) -> HeadGradients {
    let (d, q_width, kv_width) = (plan.head_dim, plan.q_width(), plan.kv_width());
    let kv_column = head / plan.group() * d;
    let serial = gemm::Parallelism::None;
    let mut gradients = HeadGradients {
        dq: vec![0f32; span.queries.len() * d],
        dk: vec![0f32; span.num_keys() * d],
        dv: vec![0f32; span.num_keys() * d],
    };
    for block in blocks(span.queries.len()) {
        let (rows, keys) = (block.len(), visible_keys(span, &block));
        let weights = weights(q, k, plan, span, head, block.clone());
        let first = (span.queries.start + block.start) * q_width + head * d;
        let dout = (&grad[first..], q_width as isize, 1);

        // dv += wᵀ · dout
        let transposed = (&weights[..], 1, keys as isize);
        gemm_into(&mut gradients.dv, d as isize, (keys, d, rows), transposed, dout, 1.0, serial);

        // dw = dout · vᵀ, then through the softmax: ds = w · (dw - Σ dw·w) · scale
        let mut dscores = vec![0f32; rows * keys];
        for_each_range(span, keys, |column, range| {
            let value_rows = (&v[range.start * kv_width + kv_column..], 1, kv_width as isize);
            let shape = (rows, range.len(), d);
            gemm_into(&mut dscores[column..], keys as isize, shape, dout, value_rows, 0.0, serial);
        });
        let scale = plan.scale();
        vectorised(
            #[inline(always)]
            || {
                for (ds, w) in dscores.chunks_exact_mut(keys).zip(weights.chunks_exact(keys)) {
                    let mean = dot(ds, w);
                    for (ds, w) in ds.iter_mut().zip(w) {
                        *ds = scale * w * (*ds - mean);
                    }
                }
            },
        );

        // dq = ds · k, dk += dsᵀ · q
        let dq = &mut gradients.dq[block.start * d..block.end * d];
        for_each_range(span, keys, |column, range| {
            let scores = (&dscores[column..], keys as isize, 1);
            let key_rows = (&k[range.start * kv_width + kv_column..], kv_width as isize, 1);
            gemm_into(dq, d as isize, (rows, d, range.len()), scores, key_rows, 1.0, serial);
        });
        let (transposed, queries) =
            ((&dscores[..], 1, keys as isize), (&q[first..], q_width as isize, 1));
        gemm_into(&mut gradients.dk, d as isize, (keys, d, rows), transposed, queries, 1.0, serial);
    }
    gradients
}
