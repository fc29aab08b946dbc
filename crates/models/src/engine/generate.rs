//! Generation with continuous batching: finished sequences leave, waiting ones enter, and prompts
//! are prefilled, and questions about finished sequences answered, in the passes in which others decode.

use super::prefix_tree::{NodeId, PrefixTree};
use super::rows::Rows;
use super::score::{LOGIT_ROWS, candidate_logprobs, held_slots, to_host};
use super::slots::Slots;
use super::{EngineModel, EngineOptions, sampler};
use crate::error::Error;
use crate::language_model::{Finish, GenerateRequest, Generation, Sampling};
use crate::tokenizer::Tokenizer;
use burn::tensor::Tensor;
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
            let (finish, then) = (Finish::Length, Vec::new());
            *generation = Some(Generation { tokens, logprobs, finish, then });
        }
    }
    loop {
        batch.admit(model, slots);
        if batch.running.is_empty() && batch.closing.is_empty() {
            break;
        }
        let mut ended = batch.step(model, slots);
        ended.extend(batch.retire(tokenizer, slots));
        for (request, generation) in ended {
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
    if request.then.iter().any(|then| then.tokens.is_empty()) {
        return bad("a question after a continuation needs at least one token");
    }
    if !request.then.is_empty() && sampling.max_new_tokens == 0 {
        return bad("a question after a continuation needs max_new_tokens of at least 1");
    }
    for then in &request.then {
        model.check_vocabulary(&then.tokens)?;
        model.check_vocabulary(&then.candidates)?;
    }
    let (tokens, context) = (
        request.prompt.len() + room_to_close(request),
        model.backbone.config.max_position_embeddings,
    );
    if tokens > context {
        return Err(Error::PromptTooLong { tokens, context });
    }
    Ok(())
}

/// Tokens that a continuation must leave for the questions about it.
fn room_to_close(request: &GenerateRequest) -> usize {
    request.then.iter().map(|then| then.tokens.len()).max().unwrap_or(0)
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
    /// Finished sequences about which something is asked, to be answered in the next pass.
    closing: Vec<Closing>,
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

/// A finished sequence whose questions are not answered yet.
struct Closing {
    sequence: Sequence,
    finish: Finish,
    /// Generated tokens that the questions follow and whose keys and values are there.
    known: usize,
    /// For each question: its tokens, after those that are not known, and their rows of the cache.
    questions: Vec<(Vec<u32>, Range<usize>)>,
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
        let (prefill, running, closing) = (Vec::new(), Vec::new(), Vec::new());
        Self { requests, options, tree, held, users, waiting, prefill, running, closing }
    }

    /// Admits waiting requests while there is room; always one if nothing runs.
    fn admit(&mut self, model: &EngineModel, slots: &mut Slots) {
        let mut new_tokens = 0;
        while let Some(&request) = self.waiting.last() {
            let GenerateRequest { prompt, sampling, .. } = &self.requests[request];
            let path = self.tree.path(self.tree.leaves[request]);
            let missing: Vec<NodeId> =
                path.iter().copied().filter(|node| self.held[*node].is_none()).collect();
            let prompt_tokens: usize =
                missing.iter().map(|node| self.tree.nodes[*node].tokens.len()).sum();
            let context = model.backbone.config.max_position_embeddings;
            let room = context - prompt.len() - room_to_close(&self.requests[request]);
            let limit = sampling.max_new_tokens.min(room + 1);
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

    /// One pass: prefills admitted prompts, draws one token for every running sequence, and answers
    /// the questions about finished ones, which it returns.
    fn step(&mut self, model: &EngineModel, slots: &mut Slots) -> Vec<(usize, Generation)> {
        let mut rows = Rows::default();
        for id in std::mem::take(&mut self.prefill) {
            let node = &self.tree.nodes[id];
            let path = self.tree.path(Some(id));
            let keys = path.iter().map(|n| held_slots(&self.held, *n));
            rows.push(&node.tokens, node.position, held_slots(&self.held, id).start, keys);
        }
        let first_drawn = rows.len();
        for sequence in &self.running {
            let known = sequence.tokens.len();
            let slot = sequence.own.start + known;
            let keys = self.keys(sequence, known).chain(std::iter::once(slot..slot + 1));
            rows.push(&[sequence.last_token], sequence.position + known, slot, keys);
        }
        let drawn: Vec<usize> = (first_drawn..rows.len()).collect();
        let mut asked = Vec::new();
        for Closing { sequence, known, questions, .. } in &self.closing {
            for (tokens, own) in questions {
                // The prompt's last token is the sequence's own first.
                let keys = self.keys(sequence, known + 1).chain(std::iter::once(own.clone()));
                rows.push(tokens, sequence.position + known + 1, own.start, keys);
                asked.push(rows.len() - 1);
            }
        }
        let hidden = rows.run(model, slots);
        self.draw(model, hidden.clone(), &drawn);
        self.close(model, hidden, &asked, slots)
    }

    /// Cache rows of a sequence's prompt and of the first `known` tokens of its own.
    fn keys(&self, sequence: &Sequence, known: usize) -> impl Iterator<Item = Range<usize>> {
        let own = sequence.own.start..sequence.own.start + known;
        sequence.path.iter().map(|node| held_slots(&self.held, *node)).chain(std::iter::once(own))
    }

    /// Draws a token for each running sequence, whose hidden states are in `rows`.
    fn draw(&mut self, model: &EngineModel, hidden: Tensor<2>, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let logits = to_host(model.backbone.logits(hidden, rows));
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

    /// Answers the questions about finished sequences, whose hidden states are in `rows`.
    fn close(
        &mut self,
        model: &EngineModel,
        hidden: Tensor<2>,
        rows: &[usize],
        slots: &mut Slots,
    ) -> Vec<(usize, Generation)> {
        let closing = std::mem::take(&mut self.closing);
        let requests = self.requests;
        let candidates: Vec<&[u32]> = closing
            .iter()
            .flat_map(|closing| &requests[closing.sequence.request].then)
            .map(|then| then.candidates.as_slice())
            .collect();
        let mut answers = Vec::with_capacity(rows.len());
        let vocab = model.backbone.config.vocab_size;
        for (rows, candidates) in rows.chunks(LOGIT_ROWS).zip(candidates.chunks(LOGIT_ROWS)) {
            let logits = to_host(model.backbone.logits(hidden.clone(), rows));
            let each = logits.par_chunks_exact(vocab).zip(candidates);
            let each = each.map(|(logits, candidates)| candidate_logprobs(candidates, logits));
            answers.par_extend(each);
        }
        let mut answers = answers.into_iter();
        let close = |Closing { sequence, finish, questions, .. }: Closing| {
            let then = answers.by_ref().take(questions.len()).collect();
            questions.into_iter().for_each(|(_, own)| slots.release(own));
            self.release(&sequence, slots);
            let Sequence { request, tokens, logprobs, .. } = sequence;
            (request, Generation { tokens, logprobs, finish, then })
        };
        closing.into_iter().map(close).collect()
    }

    /// Takes out finished sequences. Those about which nothing is asked are done.
    fn retire(&mut self, tokenizer: &Tokenizer, slots: &mut Slots) -> Vec<(usize, Generation)> {
        let mut retired = Vec::new();
        for sequence in std::mem::take(&mut self.running) {
            let request = &self.requests[sequence.request];
            let finish = match sequence.tokens.len() == sequence.limit {
                _ if stops(&sequence.tokens, &request.sampling, tokenizer) => Finish::Stop,
                true => Finish::Length,
                false => {
                    self.running.push(sequence);
                    continue;
                }
            };
            if !request.then.is_empty() {
                self.closing.push(Closing::new(sequence, finish, request, tokenizer, slots));
                continue;
            }
            self.release(&sequence, slots);
            let Sequence { request, tokens, logprobs, .. } = sequence;
            retired.push((request, Generation { tokens, logprobs, finish, then: Vec::new() }));
        }
        retired
    }

    /// Frees what only a finished sequence used.
    fn release(&mut self, sequence: &Sequence, slots: &mut Slots) {
        slots.release(sequence.own.clone());
        for node in &sequence.path {
            self.users[*node] -= 1;
            if self.users[*node] == 0
                && let Some(range) = self.held[*node].take()
            {
                slots.release(range);
            }
        }
    }
}

impl Closing {
    fn new(
        sequence: Sequence,
        finish: Finish,
        request: &GenerateRequest,
        tokenizer: &Tokenizer,
        slots: &mut Slots,
    ) -> Self {
        let content = request.sampling.content_len(&sequence.tokens, tokenizer);
        // The token drawn last has not been computed.
        let known = content.min(sequence.tokens.len() - 1);
        let unknown = &sequence.tokens[known..content];
        let questions = request.then.iter().map(|then| {
            let tokens = [unknown, &then.tokens].concat();
            let own = slots.take(tokens.len());
            (tokens, own)
        });
        let questions = questions.collect();
        Self { sequence, finish, known, questions }
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
