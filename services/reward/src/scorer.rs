//! The reward model of direct callers: which one answers, and what it makes of a batch of questions.

use crate::normalisation::Normalisation;
use crate::score::{judge, sequence};
use rlaif_job::ModelRef;
use rlaif_models::{LanguageModel, ModelInfo, Segment};
use rlaif_types::{ContentHash, Item, Judgement, Unscorable, UnscorableReason};
use rlaif_worker::{Dialogue, DirectModel, Failure, JobResources, Located};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A newer model is looked for no more often: the store may be far away.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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

/// A reward and the version of the model that gave it.
pub(crate) type Scored = (Judgement<f32>, u64);

/// A model that answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Served {
    /// Counts up with every model that is another than the one before.
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) hash: ContentHash,
    pub(crate) context_length: usize,
    pub(crate) normalisation: Normalisation,
    pub(crate) since: SystemTime,
    at: Located,
}

/// The model of direct callers: the newest that was saved under its name.
///
/// A newer one is looked for before a batch, so a batch is one version's. What cannot be found or
/// loaded leaves the one before in its place.
pub(crate) struct Scorer {
    job: JobResources,
    model: ModelRef,
    chat: bool,
    /// What the operator set, instead of what models are published with.
    normalisation: Option<Normalisation>,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    served: Option<Served>,
    looked_at: Option<Instant>,
    /// The newest could not be had, and that was said.
    outdated: bool,
}

impl Scorer {
    /// Nothing is loaded yet.
    pub(crate) fn new(
        job: JobResources,
        model: ModelRef,
        chat: bool,
        normalisation: Option<Normalisation>,
    ) -> Self {
        Self { job, model, chat, normalisation, now: Mutex::default() }
    }

    /// One judgement for each question, and the version that made them.
    ///
    /// # Errors
    /// When the model cannot be found or loaded, or the engine fails.
    fn score(&self, asked: &[Asked]) -> Result<(Vec<Judgement<f32>>, u64), Failure> {
        let served = self.served()?;
        self.job.with_reward_engine(&served.at, |engine| {
            if engine.info().hash != served.hash {
                let what = "the reward model was saved again meanwhile; ask again";
                return Err(Failure::Retry(what.to_owned()));
            }
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
                    let rendered = Segment { text: prompt.clone(), trusted: true };
                    let mut tokens = engine.tokenizer().encode_segments(&[rendered]);
                    tokens.extend(dialogue.response(&without_end(engine, response)));
                    checked(engine, &tokens)
                }
            });
            let judged = judge(engine, read.collect(), served.normalisation)?;
            let narrowed = judged.into_iter().map(|judged| judged.map(|reward| reward as f32));
            Ok((narrowed.collect(), served.version))
        })
    }

    /// The model that answers now: the newest, loaded if it is not.
    ///
    /// # Errors
    /// When none can be found or loaded.
    pub(crate) fn served(&self) -> Result<Served, Failure> {
        let before = self.known();
        if let Some((served, looked_at)) = &before
            && looked_at.elapsed() < LOOK_INTERVAL
        {
            return Ok(served.clone());
        }
        let before = before.map(|(served, _)| served);
        let newest = self.job.locate(&self.model).and_then(|at| match &before {
            Some(before) if before.at == at => Ok(before.clone()),
            _ => self.take_up(at),
        });
        let mut now = self.now();
        now.looked_at = Some(Instant::now());
        match (newest, before) {
            (Ok(newest), _) => Ok(now.serve(newest)),
            (Err(why), None) => Err(why),
            (Err(why), Some(before)) => {
                if !std::mem::replace(&mut now.outdated, true) {
                    let (version, why) = (before.version, why.into_message());
                    tracing::warn!("version {version} answers on; the newest cannot: {why}");
                }
                Ok(before)
            }
        }
    }

    /// The model that answered last, and when a newer one was looked for.
    fn known(&self) -> Option<(Served, Instant)> {
        let now = self.now();
        now.served.clone().zip(now.looked_at)
    }

    fn take_up(&self, at: Located) -> Result<Served, Failure> {
        let normalisation = self.normalisation.map_or_else(|| Normalisation::of(&at.path), Ok)?;
        let ModelInfo { name, hash, context_length, .. } =
            self.job.with_reward_engine(&at, |engine| Ok(engine.info().clone()))?;
        if self.job.locate(&self.model)? != at {
            // What was read may be of both.
            return Err(Failure::Retry("it was saved again while it was loaded".to_owned()));
        }
        let since = SystemTime::now();
        Ok(Served { version: 0, name, hash, context_length, normalisation, since, at })
    }

    /// Assignments do not panic half-way, so a poisoned lock holds a whole value.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectModel for Scorer {
    type Question = Asked;
    type Answer = Result<Scored, Failure>;

    fn load(&self) -> Result<(), Failure> {
        self.served().map(drop)
    }

    /// Where the model fails, it fails for all.
    fn answer(&self, batch: Vec<Asked>) -> Vec<Result<Scored, Failure>> {
        match self.score(&batch) {
            Ok((judged, version)) => {
                judged.into_iter().map(|judgement| Ok((judgement, version))).collect()
            }
            Err(why) => batch.iter().map(|_| Err(why.clone())).collect(),
        }
    }
}

impl Now {
    /// Counts `newest`, unless it is the one that answers already.
    fn serve(&mut self, newest: Served) -> Served {
        self.outdated = false;
        let served = match self.served.take() {
            // Saved again as it was.
            Some(Served { version, hash, since, .. }) if hash == newest.hash => {
                Served { version, since, ..newest }
            }
            before => {
                let version = before.map_or(0, |before| before.version) + 1;
                tracing::info!("version {version} answers from now: {}", newest.hash);
                Served { version, ..newest }
            }
        };
        self.served.insert(served).clone()
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
