//! The reward model of direct callers: which one answers, and what it makes of a batch of questions.

use crate::score::{judge, sequence};
use rlaif_job::ModelRef;
use rlaif_models::{LanguageModel, ModelInfo};
use rlaif_types::{ContentHash, Item, Judgement, Unscorable, UnscorableReason};
use rlaif_worker::{Dialogue, Failure, JobResources};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What is scored.
pub(crate) enum Asked {
    /// Texts.
    Item(Item),
    /// Prompt and response in the model's own tokens.
    Tokens(Vec<u32>),
    /// A prompt as a chat template rendered it, whose special tokens are meant, and the response to
    /// it, in which nothing is special.
    Rendered { prompt: String, response: String },
}

/// The model that answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Served {
    /// Counts up with every model that is another than the one before.
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) hash: ContentHash,
    pub(crate) context_length: usize,
    pub(crate) since: SystemTime,
}

pub(crate) struct Scorer {
    pub(crate) job: JobResources,
    pub(crate) model: ModelRef,
    pub(crate) chat: bool,
    pub(crate) mean: f64,
    pub(crate) std: f64,
    pub(crate) served: Mutex<Option<Served>>,
}

impl Scorer {
    /// One judgement for each question, and the version that made them.
    ///
    /// # Errors
    /// When the model cannot be found or loaded, or the engine fails.
    pub(crate) fn score(&self, asked: &[Asked]) -> Result<(Vec<Judgement<f32>>, u64), Failure> {
        self.job.with_reward_engine(&self.model, |engine| {
            let dialogue = Dialogue::with(engine, self.chat)?;
            let read = asked.iter().map(|asked| match asked {
                Asked::Item(item) => sequence(&dialogue, item),
                Asked::Tokens(tokens) => checked(engine, tokens),
                Asked::Rendered { prompt, response } => {
                    // Without a response the prompt holds it, with the mark of its end.
                    let prompt = match response.is_empty() {
                        true => &without_end(engine, prompt),
                        false => prompt,
                    };
                    let mut tokens = engine.tokenizer().encode_with_specials(prompt);
                    tokens.extend(dialogue.response(&without_end(engine, response)));
                    checked(engine, &tokens)
                }
            });
            let judged = judge(engine, read.collect(), self.mean, self.std)?;
            let narrowed = judged.into_iter().map(|judged| judged.map(|reward| reward as f32));
            Ok((narrowed.collect(), self.serves(engine.info()).version))
        })
    }

    /// The model that answers now; it is loaded if it is not.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    pub(crate) fn served(&self) -> Result<Served, Failure> {
        self.job.with_reward_engine(&self.model, |engine| Ok(self.serves(engine.info())))
    }

    fn serves(&self, info: &ModelInfo) -> Served {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        match &*served {
            Some(known) if known.hash == info.hash => known.clone(),
            before => {
                let next = Served {
                    version: before.as_ref().map_or(0, |before| before.version) + 1,
                    name: info.name.clone(),
                    hash: info.hash.clone(),
                    context_length: info.context_length,
                    since: SystemTime::now(),
                };
                served.insert(next).clone()
            }
        }
    }
}

/// A response as text, the marks of its end taken off: each model is given its own.
fn without_end(engine: &dyn LanguageModel, response: &str) -> String {
    let tokenizer = engine.tokenizer();
    let ends = tokenizer.eos_ids().iter().filter_map(|id| tokenizer.token_text(*id));
    ends.fold(response.to_owned(), |text, end| text.trim_end_matches(&end).to_owned())
}

/// Tokens that the model can read. The engine refuses a whole batch for one that it cannot.
fn checked(engine: &dyn LanguageModel, tokens: &[u32]) -> Judgement<Vec<u32>> {
    let (context, vocabulary) = (engine.info().context_length, engine.tokenizer().vocab_size());
    if tokens.len() > context {
        let detail = format!("{} tokens where the model's context holds {context}", tokens.len());
        return Err(Unscorable::new(UnscorableReason::PromptTooLong, detail));
    }
    if tokens.is_empty() {
        return Err(Unscorable::new(UnscorableReason::BadItem, "there are no tokens"));
    }
    match tokens.iter().find(|token| **token as usize >= vocabulary) {
        Some(token) => {
            let detail = format!("token {token} is outside the vocabulary of {vocabulary}");
            Err(Unscorable::new(UnscorableReason::BadItem, detail))
        }
        None => Ok(tokens.to_vec()),
    }
}
