//! The desk of direct callers: which model answers them, and the batcher before it.

use crate::{Failure, JobResources, Resources};
use rlaif_job::ModelRef;
use rlaif_service::batcher::{self, Batcher, EngineThread, Waiting};
use rlaif_service::config::Problems;
use rlaif_service::metrics::BatcherMetrics;
use std::sync::Arc;
use std::time::Instant;

/// Which model answers direct callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The model.
    pub model: ModelRef,
    job: String,
}

impl Source {
    /// The model of this name, or else what `job` saved as `saved`; none where neither is given.
    pub fn of(model: Option<&str>, job: Option<&str>, saved: &str) -> Option<Self> {
        // A name means the same to every job.
        let named = model.map(|name| (ModelRef::Named(name.to_owned()), ""));
        let (model, job) = named.or(job.map(|job| (ModelRef::Saved(saved.to_owned()), job)))?;
        Some(Self { model, job: job.to_owned() })
    }

    /// Reports where both are given.
    pub fn validate(model: Option<&str>, job: Option<&str>, problems: &mut Problems) {
        let both = model.is_some() && job.is_some();
        problems.check(!both, "job", "must be left out where a model is given");
    }

    /// What the model is looked for among.
    ///
    /// # Errors
    /// When the job's name is none.
    pub fn job(&self, resources: &Resources) -> Result<JobResources, String> {
        resources.job(&self.job).map_err(explained)
    }
}

/// A model that answers direct callers.
pub trait DirectModel: Send + Sync + 'static {
    /// What is asked.
    type Question: Send + 'static;
    /// What is answered, failures included.
    type Answer: Send + 'static;

    /// Finds and loads the model.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    fn load(&self) -> Result<(), Failure>;

    /// One answer for each question, in their order.
    fn answer(&self, batch: Vec<Self::Question>) -> Vec<Self::Answer>;
}

/// Where direct callers ask. Clones share model and batcher.
pub struct Desk<M: DirectModel> {
    model: Arc<M>,
    batcher: Batcher<M::Question, M::Answer>,
}

impl<M: DirectModel> Clone for Desk<M> {
    fn clone(&self) -> Self {
        Self { model: self.model.clone(), batcher: self.batcher.clone() }
    }
}

impl<M: DirectModel> Desk<M> {
    /// Starts a batcher named `name` before `model`, which is that of `source`. A named one is loaded
    /// now, so that a mistake shows at once; a job's may be yet to come.
    ///
    /// # Errors
    /// When a named model cannot be loaded, or the system has no thread left.
    pub fn open(
        name: &'static str,
        source: &Source,
        model: M,
        options: batcher::Options,
    ) -> Result<(Self, EngineThread), String> {
        if let ModelRef::Named(_) = source.model {
            model.load().map_err(explained)?;
        }
        let model = Arc::new(model);
        let asked = model.clone();
        // One call of a model, which has no steps.
        let engine = move |batch, _: &Waiting<'_>| asked.answer(batch);
        let (batcher, thread) = batcher::start(name, options, BatcherMetrics::new(name), engine)
            .map_err(|e| format!("the thread {name}: {e}"))?;
        Ok((Self { model, batcher }, thread))
    }

    /// The model.
    pub fn model(&self) -> &Arc<M> {
        &self.model
    }

    /// The answer to one question, which costs `tokens`, batched with those of others.
    ///
    /// # Errors
    /// When there is none in time; see [`batcher::Error`].
    pub async fn ask(
        &self,
        question: M::Question,
        tokens: usize,
        deadline: Option<Instant>,
    ) -> Result<M::Answer, batcher::Error> {
        self.batcher.submit(question, tokens, deadline).await
    }
}

fn explained(failure: Failure) -> String {
    format!("direct: {}", failure.into_message())
}
