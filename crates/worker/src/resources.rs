//! What the workers of one process share.

use crate::endpoints::Endpoints;
use crate::engines::Engines;
use crate::memory::{Limit, Place, Room, Trainer};
use crate::model_cache::{Loaded, Located, locate};
use crate::{Failure, ModelCache};
use burn::tensor::Device;
use rlaif_artifacts::{ArtifactStore, BlockingArtifacts};
use rlaif_clerk::Clerk;
use rlaif_hub::is_endpoint;
use rlaif_job::ModelRef;
use rlaif_judge::LocalEngine;
use rlaif_models::{CausalLm, DeviceName, Engine, EngineOptions};
use rlaif_types::Precision;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Bounds of a process's resources.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceOptions {
    /// Where models run.
    pub device: DeviceName,
    /// What they compute in.
    pub precision: Precision,
    /// Further devices that share the micro-batches of training.
    pub training_replicas: Vec<DeviceName>,
    /// Models kept in memory, of each kind.
    pub max_models: usize,
    /// Engines kept running.
    pub max_engines: usize,
    /// Bounds of each engine.
    pub engine: EngineOptions,
    /// Memory of the device that training may take; what there is in all where nobody says.
    pub max_memory: Option<Limit>,
}

impl ResourceOptions {
    /// Room for every role that one job has at a time, on `device`: the policy's versions, its
    /// start, the labeler, the reward model.
    pub fn on(device: DeviceName) -> Self {
        Self {
            device,
            precision: Precision::F32,
            training_replicas: Vec::new(),
            max_models: 3,
            max_engines: 4,
            engine: EngineOptions::default(),
            max_memory: None,
        }
    }
}

/// Models, engines and artifacts of a process, and the account of what its labelers were asked. Clones
/// share them.
#[derive(Clone)]
pub struct Resources {
    store: ArtifactStore,
    runtime: Handle,
    models: Arc<ModelCache>,
    engines: Arc<Engines>,
    endpoints: Arc<Endpoints>,
    clerk: Arc<Clerk>,
    /// Further devices that training is shared with.
    replicas: Arc<[Device]>,
    room: Room,
}

impl Resources {
    /// Resources over `store`, whose I/O runs on `runtime`.
    ///
    /// # Errors
    /// When the device cannot be used.
    pub fn new(
        store: ArtifactStore,
        runtime: Handle,
        options: ResourceOptions,
    ) -> Result<Self, rlaif_models::Error> {
        let room = Room {
            device: options.device,
            place: Place::on(options.device, &options.training_replicas),
            precision: options.precision,
            max: options.max_memory,
        };
        let replicas = options.training_replicas.into_iter().map(DeviceName::open);
        Ok(Self {
            room,
            replicas: replicas.collect::<Result<_, _>>()?,
            endpoints: Arc::new(Endpoints::new(runtime.clone())),
            clerk: Arc::default(),
            store,
            runtime,
            models: Arc::new(ModelCache::new(
                options.device,
                options.precision,
                options.max_models,
            )?),
            engines: Arc::new(Engines::new(options.max_engines, options.engine)),
        })
    }

    /// The same, with labelers asked by `clerk`; without one, no account is kept.
    #[must_use]
    pub fn with_clerk(self, clerk: Clerk) -> Self {
        Self { clerk: Arc::new(clerk), ..self }
    }

    /// The resources as one job sees them.
    ///
    /// # Errors
    /// When the job's name is none.
    pub fn job(&self, job: &str) -> Result<JobResources, Failure> {
        let artifacts = BlockingArtifacts::new(self.store.job(job)?, self.runtime.clone());
        Ok(JobResources { job: job.to_owned(), artifacts, shared: self.clone() })
    }
}

/// A process's resources as one job sees them.
pub struct JobResources {
    /// The job's artifacts.
    pub artifacts: BlockingArtifacts,
    job: String,
    shared: Resources,
}

impl JobResources {
    /// A language model.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    pub fn language_model(&self, which: &ModelRef) -> Result<Loaded<CausalLm>, Failure> {
        self.shared.models.language_model(&self.artifacts, which)
    }

    /// Does `work` on the engine that runs a language model.
    ///
    /// # Errors
    /// When the model cannot be found or loaded, or the work fails.
    pub fn with_engine<T>(
        &self,
        which: &ModelRef,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Resources { models, engines, .. } = &self.shared;
        engines.language(models, &self.artifacts, &self.job, which, work)
    }

    /// Does `work` with the model that labels, which may be behind an endpoint.
    ///
    /// # Errors
    /// When the model cannot be found or loaded, the endpoint is described wrongly, or the work fails.
    pub fn with_labeler<T>(
        &self,
        which: &ModelRef,
        work: impl FnOnce(Arc<dyn rlaif_judge::Engine>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let ModelRef::Named(spec) = which
            && is_endpoint(spec)
        {
            return self.shared.endpoints.lend(&self.locate(which)?.path, work);
        }
        self.with_engine(which, |engine| work(Arc::new(LocalEngine::new(Arc::new(engine.clone())))))
    }

    /// A model on each further device that training is shared with.
    pub fn replicas(&self, model: &CausalLm) -> Vec<CausalLm> {
        self.shared.replicas.iter().map(|device| model.on(device)).collect()
    }

    /// Refuses to train what takes more memory than this process may have in all.
    ///
    /// # Errors
    /// A passing one: a worker that has more may take the work over.
    pub fn check_memory(&self, trainer: Trainer) -> Result<(), Failure> {
        self.shared.room.check(trainer)
    }

    /// Who asks labelers.
    pub fn clerk(&self) -> &Clerk {
        &self.shared.clerk
    }

    /// Where a model lies now: one that the job saves again is another the next time.
    ///
    /// # Errors
    /// When it cannot be found.
    pub fn locate(&self, which: &ModelRef) -> Result<Located, Failure> {
        locate(&self.artifacts, which)
    }

    /// Does `work` on the engine that runs the reward model which lies there.
    ///
    /// # Errors
    /// When the model cannot be loaded, or the work fails.
    pub fn with_reward_engine<T>(
        &self,
        at: &Located,
        work: impl FnOnce(&Engine) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Resources { models, engines, .. } = &self.shared;
        engines.reward(models, at, work)
    }
}
