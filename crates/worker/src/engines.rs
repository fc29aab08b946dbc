//! Engines of a process, by the model they run.
//!
//! The versions of one job's policy share an engine, whose weights are exchanged; a model that was
//! saved again gets a new engine in the old one's place. An engine is lent for the time of its use, so
//! that nobody exchanges anything under another's request; its one thread would do the requests one
//! after the other anyway.

use crate::lru::Lru;
use crate::model_cache::{Loaded, Located, locate, locked};
use crate::{Failure, ModelCache, spans};
use rlaif_artifacts::BlockingArtifacts;
use rlaif_job::ModelRef;
use rlaif_models::{Engine, EngineModel, EngineOptions, LanguageModel};
use rlaif_types::LoraConfig;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The engines that run now.
pub(crate) struct Engines {
    options: EngineOptions,
    seats: Mutex<Lru<Role, Arc<Seat>>>,
}

/// What an engine is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Role {
    /// A language model.
    Language(PathBuf),
    /// A reward model.
    Reward(PathBuf),
    /// Whichever version of one job's policy is asked for.
    Versions { job: String, start: PathBuf, lora: Option<LoraConfig> },
}

impl Role {
    /// What an engine does in this role, in the conventions' words where they have one.
    fn operation(&self) -> &'static str {
        match self {
            Self::Language(_) | Self::Versions { .. } => "text_completion",
            Self::Reward(_) => "score",
        }
    }
}

/// Where an engine of one role runs, once it is started.
type Seat = Mutex<Option<Running>>;

struct Running {
    engine: Engine,
    /// Which of those of its role it runs: the artifact of a version's weights, the revision of a model
    /// that was saved.
    version: Option<String>,
}

impl Engines {
    /// At most `capacity` engines.
    pub(crate) fn new(capacity: usize, options: EngineOptions) -> Self {
        Self { options, seats: Mutex::new(Lru::new(capacity)) }
    }

    /// Lends the engine that runs the language model `which`.
    pub(crate) fn language<T>(
        &self,
        models: &ModelCache,
        artifacts: &BlockingArtifacts,
        job: &str,
        which: &ModelRef,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let at = locate(artifacts, which)?;
        let (role, version) = match which {
            ModelRef::Version { lora, parameters, .. } => {
                let (job, lora) = (job.to_owned(), lora.clone());
                (Role::Versions { job, start: at.path, lora }, Some(parameters.clone()))
            }
            ModelRef::Named(_) | ModelRef::Saved(_) => (Role::Language(at.home), at.revision),
        };
        self.lend(role, version, || models.language_model(artifacts, which), work)
    }

    /// Lends the engine that runs the reward model which lies there.
    pub(crate) fn reward<T>(
        &self,
        models: &ModelCache,
        at: &Located,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let role = Role::Reward(at.home.clone());
        self.lend(role, at.revision.clone(), || models.reward_model(at), work)
    }

    fn lend<M: Into<EngineModel>, T>(
        &self,
        role: Role,
        version: Option<String>,
        load: impl FnOnce() -> Result<Loaded<M>, Failure>,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let operation = role.operation();
        let shares_start = matches!(role, Role::Versions { .. });
        let seat =
            locked(&self.seats).get_or_make(role, |_| true, || Ok::<_, Failure>(Arc::default()))?;
        let mut seat = locked(&seat);
        let running = match seat.take_if(|running| running.version == version) {
            Some(running) => running,
            None => {
                // First: where it cannot be loaded, the one before runs on.
                let loaded = load()?;
                let engine = match seat.take() {
                    Some(before) if shares_start => {
                        before.engine.swap(loaded.model)?;
                        before.engine
                    }
                    // One that was saved again may be another in all respects.
                    _ => Engine::start(loaded.model, &loaded.checkpoint, self.options.clone())?,
                };
                Running { engine, version }
            }
        };
        // An engine in the middle of a failure is not kept: the seat is empty until the work is done.
        let span = spans::model_call(operation, &running.engine.info().name);
        let done = span.in_scope(|| work(&running.engine))?;
        *seat = Some(running);
        Ok(done)
    }
}
