//! The engine: a thread that owns a model and its key-value cache, and answers requests.
//!
//! One thread owns the model, so nothing about it is locked and nothing heavy runs on a caller's
//! thread. A call's requests are laid out as a tree of common prefixes and computed in ragged
//! passes; see [`score`](mod@score) and [`generate`](mod@generate).

mod beginnings;
mod generate;
mod prefix_tree;
mod rows;
mod sampler;
mod score;
mod slots;

use crate::chat::ChatTemplate;
use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::kv_cache::KvCache;
use crate::language_model::{
    Answer, GenerateRequest, Generation, LanguageModel, ModelInfo, ScoreRequest,
};
use crate::scalar_model::ScalarModel;
use crate::tokenizer::Tokenizer;
use crate::transformer::CausalLm;
use beginnings::Beginnings;
use burn::tensor::Tensor;
use slots::Slots;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

/// Bounds of an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineOptions {
    /// Tokens of one pass.
    pub max_batch_tokens: usize,
    /// Sequences generated together.
    pub max_sequences: usize,
    /// Tokens whose keys and values are kept while generating. Scoring keeps one pass and the
    /// prefixes it shares with the next; an eighth may hold what calls have in common.
    pub max_kv_tokens: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { max_batch_tokens: 1024, max_sequences: 64, max_kv_tokens: 32 * 1024 }
    }
}

/// A model as an engine runs it: frozen, with or without a reward head.
#[derive(Debug, Clone)]
pub struct EngineModel {
    backbone: CausalLm,
    score: Option<Tensor<2>>,
}

impl From<CausalLm> for EngineModel {
    fn from(model: CausalLm) -> Self {
        Self { backbone: model.for_inference(), score: None }
    }
}

impl From<ScalarModel> for EngineModel {
    fn from(model: ScalarModel) -> Self {
        Self { backbone: model.backbone.for_inference(), score: Some(model.score.no_grad()) }
    }
}

impl EngineModel {
    /// # Errors
    /// When the sequence is empty, too long, or holds a token outside the vocabulary.
    fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let context = self.backbone.config.max_position_embeddings;
        if tokens.is_empty() {
            return Err(Error::BadRequest("a sequence needs at least one token".into()));
        }
        if tokens.len() > context {
            return Err(Error::PromptTooLong { tokens: tokens.len(), context });
        }
        self.check_vocabulary(tokens)
    }

    fn check_vocabulary(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocab = self.backbone.config.vocab_size;
        match tokens.iter().find(|token| **token as usize >= vocab) {
            Some(token) => Err(Error::BadRequest(format!(
                "token {token} is outside the model's vocabulary of {vocab}; is this the model's \
                 own tokenizer?"
            ))),
            None => Ok(()),
        }
    }

    fn empty_cache(&self, rows: usize) -> Slots {
        let config = &self.backbone.config;
        let cache = KvCache::new(
            config.num_hidden_layers,
            rows,
            config.kv_size(),
            self.backbone.activations(),
            &self.backbone.device(),
        );
        Slots::new(cache, rows)
    }
}

/// Key ranges of a span, adjacent ones joined.
fn key_ranges(ranges: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut keys: Vec<Range<usize>> = Vec::new();
    for range in ranges.filter(|range| !range.is_empty()) {
        match keys.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => keys.push(range),
        }
    }
    keys
}

/// Where a caller's answers come back.
type Reply<T> = mpsc::SyncSender<Result<T, Error>>;

enum Job {
    Score { requests: Vec<ScoreRequest>, beginning: usize, reply: Reply<Vec<Answer>> },
    Generate(Vec<GenerateRequest>, Reply<Vec<Generation>>),
    Swap(Box<EngineModel>, Reply<()>),
}

/// Handle to an engine; clones share it. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Engine {
    /// Bounded: callers wait here, at the door, and not in memory.
    jobs: mpsc::SyncSender<Job>,
    facts: Arc<Facts>,
}

struct Facts {
    tokenizer: Tokenizer,
    chat_template: Option<ChatTemplate>,
    info: ModelInfo,
}

impl Engine {
    /// Starts an engine for `model`, whose files `checkpoint` names.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        model: impl Into<EngineModel>,
        checkpoint: &Checkpoint,
        options: EngineOptions,
    ) -> Result<Self, Error> {
        let model = model.into();
        let info = ModelInfo {
            name: checkpoint.name.clone(),
            hash: checkpoint.hash.clone(),
            context_length: checkpoint.config.max_position_embeddings,
            parameters: model.backbone.num_parameters(),
        };
        let (jobs, inbox) = mpsc::sync_channel(64);
        let tokenizer = checkpoint.tokenizer.clone();
        std::thread::Builder::new()
            .name(format!("engine {}", info.name))
            .spawn(move || serve(model, &tokenizer, &options, &inbox))
            .map_err(|e| Error::EngineFailed(format!("its thread did not start: {e}")))?;
        let facts = Facts {
            tokenizer: checkpoint.tokenizer.clone(),
            chat_template: checkpoint.chat_template.clone(),
            info,
        };
        Ok(Self { jobs, facts: Arc::new(facts) })
    }

    /// Replaces the weights, after the work already accepted and before any that follows.
    ///
    /// # Errors
    /// When the engine is gone.
    pub fn swap(&self, model: impl Into<EngineModel>) -> Result<(), Error> {
        let model = Box::new(model.into());
        self.call(|reply| Job::Swap(model, reply))
    }

    fn call<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Error> {
        let (reply, answer) = mpsc::sync_channel(1);
        let gone = || Error::EngineFailed("its thread is gone".into());
        self.jobs.send(job(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl LanguageModel for Engine {
    fn score_after(
        &self,
        beginning: usize,
        requests: Vec<ScoreRequest>,
    ) -> Result<Vec<Answer>, Error> {
        self.call(|reply| Job::Score { requests, beginning, reply })
    }

    fn generate(&self, requests: Vec<GenerateRequest>) -> Result<Vec<Generation>, Error> {
        self.call(|reply| Job::Generate(requests, reply))
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.facts.tokenizer
    }

    fn chat_template(&self) -> Option<&ChatTemplate> {
        self.facts.chat_template.as_ref()
    }

    fn info(&self) -> &ModelInfo {
        &self.facts.info
    }
}

/// The engine's thread.
fn serve(
    mut model: EngineModel,
    tokenizer: &Tokenizer,
    options: &EngineOptions,
    inbox: &mpsc::Receiver<Job>,
) {
    let initial_rows = options.max_batch_tokens.min(options.max_kv_tokens);
    let mut slots = model.empty_cache(initial_rows);
    let mut beginnings = Beginnings::default();
    while let Ok(job) = inbox.recv() {
        // A caller that left is no concern of the engine: failed sends are ignored.
        match job {
            Job::Score { requests, beginning, reply } => {
                let (slots, kept) = (&mut slots, &mut beginnings);
                let answer =
                    guard(|| score::score(&model, slots, kept, options, &requests, beginning));
                let _ = reply.send(answer);
            }
            Job::Generate(requests, reply) => {
                let answer =
                    guard(|| generate::generate(&model, tokenizer, &mut slots, options, &requests));
                let _ = reply.send(answer);
            }
            Job::Swap(next, reply) => {
                model = *next;
                beginnings = Beginnings::default();
                slots = model.empty_cache(initial_rows);
                let _ = reply.send(Ok(()));
            }
        }
        if slots.used() > beginnings.rows() {
            // A job that failed half-way left rows behind.
            beginnings = Beginnings::default();
            slots = model.empty_cache(initial_rows);
        }
    }
}

/// Turns a panic of a device driver or kernel into an error of this call: the engine lives on.
fn guard<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown panic");
        Err(Error::EngineFailed(what.to_owned()))
    })
}
