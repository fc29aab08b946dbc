//! Generation with continuous batching: finished sequences leave, waiting ones enter, and prompts
//! are prefilled in the same passes in which others decode.

use super::prefix_tree::{NodeId, PrefixTree};
use super::score::{held_slots, to_host};
use super::slots::Slots;
use super::{EngineModel, EngineOptions, key_ranges, sampler};
use crate::error::Error;
use crate::kernels::Span;
use crate::kv_cache::SlotRun;
use crate::language_model::{Finish, GenerateRequest, Generation, Sampling};
use crate::tokenizer::Tokenizer;
use crate::transformer::Pass;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;

/// Continues every prompt.
pub(super) fn generate(
    model: &EngineModel,
    tokenizer: &Tokenizer,
    slots: &mut Slots,
    options: &EngineOptions,
    requests: &[GenerateRequest],
) -> Result<Vec<Generation>, Error> {
    for request in requests {
        check(model, request)?;
    }
    let mut batch = Batch::new(requests, options);
    let mut done: Vec<Option<Generation>> = requests.iter().map(|_| None).collect();
    for (request, generation) in requests.iter().zip(&mut done) {
        if request.sampling.max_new_tokens == 0 {
            let (tokens, logprobs) = (Vec::new(), Vec::new());
            *generation = Some(Generation { tokens, logprobs, finish: Finish::Length });
        }
    }
    loop {
        batch.admit(model, slots);
        if batch.running.is_empty() {
            break;
        }
        batch.step(model, slots);
        for (request, generation) in batch.retire(tokenizer, slots) {
            done[request] = Some(generation);
        }
    }
    Ok(done.into_iter().map(|g| g.expect("the loop ends when no request is left")).collect())
}

fn check(model: &EngineModel, request: &GenerateRequest) -> Result<(), Error> {
    model.check_tokens(&request.prompt)?;
    let sampling = &request.sampling;
    let bad = |what: &str| Err(Error::BadRequest(what.into()));
    if !(sampling.temperature >= 0.0 && sampling.temperature.is_finite()) {
        return bad("temperature must be 0 or a positive number");
    }
    if sampling.top_k == Some(0) {
        return bad("top_k must be at least 1");
    }
    if sampling.top_p.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
        return bad("top_p must be in (0, 1]");
    }
    Ok(())
}

/// Requests waiting and running, and the tree of their prompts.
///
/// The tree holds each prompt but its last token, which belongs to the sequence itself: even equal
/// prompts then have a row of their own from which to draw their first token.
struct Batch<'a> {
    requests: &'a [GenerateRequest],
    options: &'a EngineOptions,
    tree: PrefixTree,
    held: Vec<Option<Range<usize>>>,
    /// Unfinished requests whose prompt runs through each node.
    users: Vec<usize>,
    /// Requests not yet admitted, the next one last.
    waiting: Vec<usize>,
    /// Nodes of newly admitted prompts, to be computed in the next pass.
    prefill: Vec<NodeId>,
    running: Vec<Sequence>,
}

/// A sequence being generated.
struct Sequence {
    request: usize,
    /// Cache rows of its own: the prompt's last token and everything generated.
    own: Range<usize>,
    /// Prompt tokens before `own`.
    position: usize,
    path: Vec<NodeId>,
    last_token: u32,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    limit: usize,
    rng: ChaCha8Rng,
}

impl<'a> Batch<'a> {
    fn new(requests: &'a [GenerateRequest], options: &'a EngineOptions) -> Self {
        let prompts: Vec<&[u32]> =
            requests.iter().map(|r| &r.prompt[..r.prompt.len() - 1]).collect();
        let tree = PrefixTree::build(&prompts, options.max_batch_tokens);
        let mut users = vec![0; tree.nodes.len()];
        let mut waiting: Vec<usize> =
            (0..requests.len()).filter(|r| requests[*r].sampling.max_new_tokens > 0).collect();
        for request in &waiting {
            tree.path(tree.leaves[*request]).iter().for_each(|node| users[*node] += 1);
        }
        // In tree order, so that requests with a common prefix run together and free it early.
        waiting.sort_by_key(|request| (tree.leaves[*request], *request));
        waiting.reverse();
        let held = vec![None; tree.nodes.len()];
        let (prefill, running) = (Vec::new(), Vec::new());
        Self { requests, options, tree, held, users, waiting, prefill, running }
    }

    /// Admits waiting requests while there is room; always one if nothing runs.
    fn admit(&mut self, model: &EngineModel, slots: &mut Slots) {
        let mut new_tokens = 0;
        while let Some(&request) = self.waiting.last() {
            let GenerateRequest { prompt, sampling } = &self.requests[request];
            let path = self.tree.path(self.tree.leaves[request]);
            let missing: Vec<NodeId> =
                path.iter().copied().filter(|node| self.held[*node].is_none()).collect();
            let prompt_tokens: usize =
                missing.iter().map(|node| self.tree.nodes[*node].tokens.len()).sum();
            let context = model.backbone.config.max_position_embeddings;
            let limit = sampling.max_new_tokens.min(context - prompt.len() + 1);
            let fits = self.running.len() < self.options.max_sequences
                && new_tokens + prompt_tokens <= self.options.max_batch_tokens
                && slots.used() + prompt_tokens + limit <= self.options.max_kv_tokens;
            if !fits && !self.running.is_empty() {
                break;
            }
            self.waiting.pop();
            new_tokens += prompt_tokens + 1;
            for node in missing {
                self.held[node] = Some(slots.take(self.tree.nodes[node].tokens.len()));
                self.prefill.push(node);
            }
            self.running.push(Sequence {
                request,
                own: slots.take(limit),
                position: prompt.len() - 1,
                path,
                last_token: prompt[prompt.len() - 1],
                tokens: Vec::new(),
                logprobs: Vec::new(),
                limit,
                rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            });
        }
    }

    /// One pass: prefills admitted prompts and draws one token for every running sequence.
    fn step(&mut self, model: &EngineModel, slots: &mut Slots) {
        let (mut tokens, mut positions) = (Vec::new(), Vec::new());
        let (mut spans, mut runs) = (Vec::new(), Vec::new());
        for id in std::mem::take(&mut self.prefill) {
            let node = &self.tree.nodes[id];
            let rows = tokens.len()..tokens.len() + node.tokens.len();
            tokens.extend(&node.tokens);
            positions.extend(node.position..node.position + node.tokens.len());
            let path = self.tree.path(Some(id));
            let keys = key_ranges(path.iter().map(|n| held_slots(&self.held, *n)));
            runs.push(SlotRun { rows: rows.clone(), slot: held_slots(&self.held, id).start });
            spans.push(Span { queries: rows, keys });
        }
        let first_decode_row = tokens.len();
        for sequence in &self.running {
            let row = tokens.len();
            let slot = sequence.own.start + sequence.tokens.len();
            tokens.push(sequence.last_token);
            positions.push(sequence.position + sequence.tokens.len());
            let prefix = sequence.path.iter().map(|node| held_slots(&self.held, *node));
            let own = sequence.own.start..slot + 1;
            runs.push(SlotRun { rows: row..row + 1, slot });
            let keys = key_ranges(prefix.chain(std::iter::once(own)));
            spans.push(Span { queries: row..row + 1, keys });
        }
        let rows: Vec<usize> = (first_decode_row..tokens.len()).collect();
        let pass = Pass { tokens: &tokens, positions: &positions, spans };
        let hidden = model.backbone.run(pass, Some((&mut slots.cache, &runs)));
        let logits = to_host(model.backbone.logits(hidden, &rows));
        let vocab = model.backbone.config.vocab_size;
        let requests = self.requests;
        self.running.par_iter_mut().zip(logits.par_chunks_exact(vocab)).for_each(
            |(sequence, logits)| {
                let sampling = &requests[sequence.request].sampling;
                let allow_stop = sequence.tokens.len() >= sampling.min_new_tokens;
                let (token, logprob) =
                    sampler::sample(logits, sampling, allow_stop, &mut sequence.rng);
                sequence.last_token = token;
                sequence.tokens.push(token);
                sequence.logprobs.push(logprob);
            },
        );
    }

    /// Takes out finished sequences and frees what only they used.
    fn retire(&mut self, tokenizer: &Tokenizer, slots: &mut Slots) -> Vec<(usize, Generation)> {
        let mut retired = Vec::new();
        for sequence in std::mem::take(&mut self.running) {
            let sampling = &self.requests[sequence.request].sampling;
            let finish = match sequence.tokens.len() == sequence.limit {
                _ if stops(&sequence.tokens, sampling, tokenizer) => Finish::Stop,
                true => Finish::Length,
                false => {
                    self.running.push(sequence);
                    continue;
                }
            };
            slots.release(sequence.own.clone());
            for node in &sequence.path {
                self.users[*node] -= 1;
                if self.users[*node] == 0
                    && let Some(range) = self.held[*node].take()
                {
                    slots.release(range);
                }
            }
            let Sequence { request, tokens, logprobs, .. } = sequence;
            retired.push((request, Generation { tokens, logprobs, finish }));
        }
        retired
    }
}

/// Whether the last token is a stop token or completes a stop text.
fn stops(tokens: &[u32], sampling: &Sampling, tokenizer: &Tokenizer) -> bool {
    if tokens.last().is_some_and(|last| sampling.stop_tokens.contains(last)) {
        return true;
    }
    let Some(longest) = sampling.stop_texts.iter().map(String::len).max() else { return false };
    // A token spells at least one byte, so the last `longest` tokens hold a text just completed.
    let tail = tokenizer.decode(&tokens[tokens.len().saturating_sub(longest)..]);
    tokens.len() >= sampling.min_new_tokens
        && sampling.stop_texts.iter().any(|stop| tail.contains(stop.as_str()))
}
