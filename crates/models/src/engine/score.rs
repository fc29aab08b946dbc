//! Answering score requests: one depth-first walk over the tree of all their prefixes.

use super::beginnings::{Beginnings, Begun};
use super::prefix_tree::{NodeId, PrefixTree};
use super::rows::Rows;
use super::slots::Slots;
use super::{EngineModel, EngineOptions};
use crate::error::Error;
use crate::kernels::cpu::math::log_sum_exp;
use crate::kernels::cpu::simd::vectorised;
use crate::language_model::{Answer, Ask, ScoreRequest};
use crate::scalar_model::score_of;
use burn::tensor::{DType, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of `[rows, vocab]` logits that exist at one time.
pub(super) const LOGIT_ROWS: usize = 64;

/// Answers `requests`, of which the first `beginning` tokens are kept for further calls where all have the
/// same. Equal prefixes are computed once, in passes of `max_batch_tokens`.
pub(super) fn score(
    model: &EngineModel,
    slots: &mut Slots,
    beginnings: &mut Beginnings,
    options: &EngineOptions,
    requests: &[ScoreRequest],
    beginning: usize,
) -> Result<Vec<Answer>, Error> {
    for request in requests {
        check(model, request)?;
    }
    let common = beginning_of(requests, beginning);
    let begun = beginnings.get(model, slots, options, common);
    let computed: Vec<&[u32]> =
        requests.iter().map(|request| &tokens_to_compute(request)[begun.len()..]).collect();
    let tree = PrefixTree::build(&computed, options.max_batch_tokens).after(begun.len());
    let wants = wants_by_node(&tree, requests);
    let mut answers: Vec<Answer> = requests.iter().map(empty_answer).collect();

    let last_descendant = tree.last_descendants();
    let mut held: Vec<Option<Range<usize>>> = vec![None; tree.nodes.len()];
    let mut next = 0;
    while next < tree.nodes.len() {
        let pass = next..pass_end(&tree, next, options.max_batch_tokens);
        for node in pass.clone() {
            held[node] = Some(slots.take(tree.nodes[node].tokens.len()));
        }
        let hidden = run_nodes(model, slots, &tree, &held, &begun, pass.clone());
        answer(model, hidden, &tree, &wants, pass.clone(), requests, &mut answers);
        next = pass.end;
        for node in 0..next {
            if last_descendant[node] < next
                && let Some(range) = held[node].take()
            {
                slots.release(range);
            }
        }
    }
    Ok(answers)
}

/// The first `len` tokens, where all requests have them before anything is asked.
fn beginning_of(requests: &[ScoreRequest], len: usize) -> &[u32] {
    let begins = |request: &ScoreRequest| {
        let first = match request.ask {
            Ask::Continuation { from } => from - 1,
            _ => request.tokens.len() - 1,
        };
        first.min(tokens_to_compute(request).len())
    };
    match requests {
        [first, others @ ..]
            if len <= begins(first)
                && others.iter().all(|other| {
                    len <= begins(other) && other.tokens[..len] == first.tokens[..len]
                }) =>
        {
            &first.tokens[..len]
        }
        _ => &[],
    }
}

fn check(model: &EngineModel, request: &ScoreRequest) -> Result<(), Error> {
    model.check_tokens(&request.tokens)?;
    match &request.ask {
        Ask::Next { candidates } => model.check_vocabulary(candidates),
        Ask::Continuation { from } if *from == 0 || *from > request.tokens.len() => {
            Err(Error::BadRequest(format!(
                "a continuation starts within 1..={} tokens, not at {from}",
                request.tokens.len()
            )))
        }
        Ask::Continuation { .. } => Ok(()),
        Ask::Reward if model.score.is_none() => {
            Err(Error::BadRequest("this model has no reward head (score.weight)".into()))
        }
        Ask::Reward => Ok(()),
    }
}

/// The tokens whose hidden states are needed: a continuation's last token only needs predicting.
fn tokens_to_compute(request: &ScoreRequest) -> &[u32] {
    match request.ask {
        Ask::Continuation { from } if from == request.tokens.len() => &[],
        Ask::Continuation { .. } => &request.tokens[..request.tokens.len() - 1],
        _ => &request.tokens,
    }
}

fn empty_answer(request: &ScoreRequest) -> Answer {
    match &request.ask {
        Ask::Next { .. } => Answer::Next(Vec::new()),
        Ask::Continuation { from } => {
            Answer::Continuation(vec![f32::NAN; request.tokens.len() - from])
        }
        Ask::Reward => Answer::Reward(f32::NAN),
    }
}

/// Positions of one request that need an output at one node.
struct Want {
    request: usize,
    positions: Range<usize>,
}

fn wants_by_node(tree: &PrefixTree, requests: &[ScoreRequest]) -> Vec<Vec<Want>> {
    let mut wants: Vec<Vec<Want>> = tree.nodes.iter().map(|_| Vec::new()).collect();
    for (request, (asked, leaf)) in requests.iter().zip(&tree.leaves).enumerate() {
        let wanted = match asked.ask {
            Ask::Continuation { from } => from - 1..asked.tokens.len() - 1,
            _ => asked.tokens.len() - 1..asked.tokens.len(),
        };
        for node in tree.path(*leaf) {
            let start = tree.nodes[node].position;
            let end = start + tree.nodes[node].tokens.len();
            let positions = wanted.start.max(start)..wanted.end.min(end);
            if !positions.is_empty() {
                wants[node].push(Want { request, positions });
            }
        }
    }
    wants
}

/// The end of the longest run of nodes from `first` on that fits `max_tokens`; at least one node.
fn pass_end(tree: &PrefixTree, first: NodeId, max_tokens: usize) -> NodeId {
    let mut tokens = 0;
    let fits = tree.nodes[first..].iter().take_while(|node| {
        tokens += node.tokens.len();
        tokens <= max_tokens
    });
    first + fits.count().max(1)
}

/// Hidden states of the tokens of `nodes`, in order; their keys and values go into the cache.
fn run_nodes(
    model: &EngineModel,
    slots: &mut Slots,
    tree: &PrefixTree,
    held: &[Option<Range<usize>>],
    begun: &Begun,
    nodes: Range<NodeId>,
) -> Tensor<2> {
    let mut rows = Rows::default();
    for id in nodes {
        let node = &tree.nodes[id];
        let path = tree.path(Some(id));
        let keys = path.iter().map(|n| held_slots(held, *n));
        let keys = std::iter::once(begun.slots.clone()).chain(keys);
        rows.push(&node.tokens, node.position, held_slots(held, id).start, keys);
    }
    rows.run(model, slots)
}

/// The cache rows of a node that was computed and is still needed.
pub(super) fn held_slots(held: &[Option<Range<usize>>], node: NodeId) -> Range<usize> {
    held[node].clone().expect("a node's rows are kept until its last descendant is computed")
}

/// Fills in everything the nodes of this pass were wanted for.
fn answer(
    model: &EngineModel,
    hidden: Tensor<2>,
    tree: &PrefixTree,
    wants: &[Vec<Want>],
    nodes: Range<NodeId>,
    requests: &[ScoreRequest],
    answers: &mut [Answer],
) {
    // One entry for each output: (hidden row, request, position).
    let (mut next, mut continuation, mut reward) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_row = 0;
    for node in nodes {
        for want in &wants[node] {
            let kind = match requests[want.request].ask {
                Ask::Next { .. } => &mut next,
                Ask::Continuation { .. } => &mut continuation,
                Ask::Reward => &mut reward,
            };
            kind.extend(want.positions.clone().map(|position| {
                (first_row + position - tree.nodes[node].position, want.request, position)
            }));
        }
        first_row += tree.nodes[node].tokens.len();
    }

    for block in next.chunks(LOGIT_ROWS) {
        let rows: Vec<usize> = block.iter().map(|(row, ..)| *row).collect();
        let logits = to_host(model.backbone.logits(hidden.clone(), &rows));
        let vocab = model.backbone.config.vocab_size;
        let done: Vec<Vec<f32>> = block
            .par_iter()
            .zip(logits.par_chunks_exact(vocab))
            .map(|((_, request, _), logits)| match &requests[*request].ask {
                Ask::Next { candidates } => candidate_logprobs(candidates, logits),
                Ask::Continuation { .. } | Ask::Reward => Vec::new(),
            })
            .collect();
        for ((_, request, _), logprobs) in block.iter().zip(done) {
            answers[*request] = Answer::Next(logprobs);
        }
    }
    if !continuation.is_empty() {
        let rows: Vec<usize> = continuation.iter().map(|(row, ..)| *row).collect();
        let targets: Vec<u32> =
            continuation.iter().map(|(_, r, position)| requests[*r].tokens[position + 1]).collect();
        let logprobs = to_host(model.backbone.token_logprobs(hidden.clone(), &rows, &targets, 1.0));
        for ((_, request, position), logprob) in continuation.iter().zip(logprobs) {
            if let (Answer::Continuation(out), Ask::Continuation { from }) =
                (&mut answers[*request], &requests[*request].ask)
            {
                out[position + 1 - from] = logprob;
            }
        }
    }
    if let (Some(score), false) = (&model.score, reward.is_empty()) {
        let rows: Vec<usize> = reward.iter().map(|(row, ..)| *row).collect();
        let hidden = model.backbone.rows(hidden, &rows);
        let values = to_host(score_of(hidden, score));
        for ((_, request, _), value) in reward.iter().zip(values) {
            answers[*request] = Answer::Reward(value);
        }
    }
}

/// Log-probability of each candidate under the softmax of the whole vocabulary.
pub(super) fn candidate_logprobs(candidates: &[u32], logits: &[f32]) -> Vec<f32> {
    let normaliser = vectorised(
        #[inline(always)]
        || log_sum_exp(logits, 1.0),
    );
    candidates.iter().map(|token| logits[*token as usize] - normaliser).collect()
}

/// A tensor's values in f32, whatever it computes in.
pub(super) fn to_host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().into_vec().expect("a tensor cast to f32 holds f32 values")
}
