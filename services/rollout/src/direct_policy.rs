//! The policy of direct callers: which one answers, and what it makes of a batch of requests.

use rlaif_job::ModelRef;
use rlaif_models::{GenerateRequest, Generation, LanguageModel, ModelInfo, Sampling};
use rlaif_types::Prompt;
use rlaif_worker::{Dialogue, DirectModel, Failure, JobResources, kept_versions};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// A request for one completion.
pub(crate) struct Asked {
    pub(crate) prompt: Input,
    pub(crate) sampling: Sampling,
}

/// The prompt of a request.
pub(crate) enum Input {
    Prompt(Prompt),
    /// In the policy's own tokens.
    Tokens(Vec<u32>),
}

/// One completion.
pub(crate) struct Drawn {
    pub(crate) policy_version: u64,
    pub(crate) generation: Generation,
    pub(crate) text: String,
    pub(crate) prompt_tokens: usize,
}

/// Why a request has no completion.
#[derive(Debug, Clone)]
pub(crate) enum Refused {
    /// Its prompt cannot be put to the policy.
    Prompt(String),
    /// The policy cannot be asked.
    Policy(Failure),
}

/// The policy that answers.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// The job's newest when it was loaded; 0 for a model that no job trained.
    pub(crate) version: u64,
    pub(crate) info: ModelInfo,
    pub(crate) since: SystemTime,
}

pub(crate) struct DirectPolicy {
    pub(crate) job: JobResources,
    pub(crate) model: ModelRef,
    pub(crate) chat: bool,
    pub(crate) served: Mutex<Option<Served>>,
}

impl DirectModel for DirectPolicy {
    type Question = Asked;
    type Answer = Result<Drawn, Refused>;

    fn load(&self) -> Result<(), Failure> {
        self.served().map(drop)
    }

    /// Draws one completion for each request; one whose prompt cannot be read costs the others
    /// nothing.
    fn answer(&self, batch: Vec<Asked>) -> Vec<Result<Drawn, Refused>> {
        let size = batch.len();
        let drawn = self.job.with_engine(&self.model, |engine| {
            let policy_version = self.serves(engine.info())?.version;
            let dialogue = Dialogue::with(engine, self.chat)?;
            let requests: Vec<Result<GenerateRequest, Refused>> =
                batch.into_iter().map(|asked| request(engine, &dialogue, asked)).collect();
            let readable = requests.iter().flatten().cloned().collect();
            let mut generations = engine.generate(readable)?.into_iter();
            let drawn = requests.into_iter().map(|request| {
                let prompt_tokens = request?.prompt.len();
                let generation = generations.next().expect("one generation for each request");
                let text = engine.tokenizer().decode(&generation.tokens);
                Ok(Drawn { policy_version, generation, text, prompt_tokens })
            });
            Ok(drawn.collect())
        });
        drawn.unwrap_or_else(|why| (0..size).map(|_| Err(Refused::Policy(why.clone()))).collect())
    }
}

impl DirectPolicy {
    /// The policy that answers; it is loaded if it is not.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    pub(crate) fn served(&self) -> Result<Served, Failure> {
        self.job.with_engine(&self.model, |engine| self.serves(engine.info()))
    }

    fn serves(&self, info: &ModelInfo) -> Result<Served, Failure> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        match &*served {
            Some(known) if known.info.hash == info.hash => Ok(known.clone()),
            _ => {
                let (version, info) = (self.newest_version()?, info.clone());
                Ok(served.insert(Served { version, info, since: SystemTime::now() }).clone())
            }
        }
    }

    /// The newest version among the job's artifacts; 0 where there is none.
    fn newest_version(&self) -> Result<u64, Failure> {
        if let ModelRef::Named(_) = self.model {
            return Ok(0);
        }
        let kept = kept_versions(&self.job.artifacts)?;
        Ok(kept.last().map_or(0, |(version, _)| *version))
    }
}

/// A request that the engine takes. It refuses a whole batch for one that it does not.
fn request(
    engine: &dyn LanguageModel,
    dialogue: &Dialogue,
    asked: Asked,
) -> Result<GenerateRequest, Refused> {
    let refused = |what: String| Err(Refused::Prompt(what));
    let mut sampling = asked.sampling;
    sampling.stop_tokens.extend(engine.tokenizer().eos_ids());
    let prompt = match asked.prompt {
        Input::Prompt(prompt) => dialogue
            .prompt(&prompt, sampling.max_new_tokens)
            .map_err(|what| Refused::Prompt(what.to_string()))?,
        Input::Tokens(tokens) => tokens,
    };
    let (context, vocabulary) = (engine.info().context_length, engine.tokenizer().vocab_size());
    if prompt.is_empty() {
        return refused("the prompt is empty".to_owned());
    }
    if prompt.len() + sampling.max_new_tokens > context {
        return refused(format!(
            "{} tokens and {} to draw do not fit the policy's context of {context}",
            prompt.len(),
            sampling.max_new_tokens
        ));
    }
    if let Some(token) = prompt.iter().find(|token| **token as usize >= vocabulary) {
        return refused(format!("token {token} is outside the vocabulary of {vocabulary}"));
    }
    Ok(GenerateRequest::new(prompt, sampling))
}
