//! Models of a process, each loaded once however many roles it has.

use crate::Failure;
use crate::lru::Lru;
use crate::training::{load_state, trainable};
use burn::tensor::{DType, Device};
use rlaif_artifacts::BlockingArtifacts;
use rlaif_hub::Store;
use rlaif_job::ModelRef;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A model and what came with it. Clones share everything.
#[derive(Clone)]
pub struct Loaded<M> {
    /// Tokenizer, template, configuration, hash.
    pub checkpoint: Arc<Checkpoint>,
    /// The weights.
    pub model: M,
}

/// Models by where they lie.
pub struct ModelCache {
    device: Device,
    policies: Mutex<Lru<PathBuf, Loaded<CausalLm>>>,
    reward_models: Mutex<Lru<PathBuf, Loaded<ScalarModel>>>,
}

impl ModelCache {
    /// Keeps at most `capacity` language models and as many reward models on `device`.
    ///
    /// # Errors
    /// When the device cannot be used.
    pub fn new(device: DeviceName, capacity: usize) -> Result<Self, rlaif_models::Error> {
        Ok(Self {
            device: device.open()?,
            policies: Mutex::new(Lru::new(capacity)),
            reward_models: Mutex::new(Lru::new(capacity)),
        })
    }

    /// The language model that `which` means to the job of `artifacts`. A version of a policy is
    /// made anew on each call: its start is kept, the engine that runs it keeps the rest.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    pub fn language_model(
        &self,
        artifacts: &BlockingArtifacts,
        which: &ModelRef,
    ) -> Result<Loaded<CausalLm>, Failure> {
        if let ModelRef::Version { start, lora, parameters } = which {
            let start = self.language_model(artifacts, start)?;
            let mut model = start.model.trainable(&trainable(lora.as_ref()));
            let state = load_state(artifacts, parameters)?;
            let loaded = state.load_parameters("policy", &mut model);
            loaded.map_err(|e| Failure::impossible(format!("{parameters}: {e}")))?;
            return Ok(Loaded { checkpoint: start.checkpoint, model: model.merged() });
        }
        let path = locate(artifacts, which)?;
        locked(&self.policies).get_or_make(path.clone(), || {
            let checkpoint = Checkpoint::open(&path)?;
            // Training keeps f32 weights; see ARCHITECTURE.md on precision.
            let model = CausalLm::load(&checkpoint, &self.device, DType::F32)?;
            Ok(Loaded { checkpoint: Arc::new(checkpoint), model })
        })
    }

    /// The reward model that `which` means to the job of `artifacts`.
    ///
    /// # Errors
    /// When it cannot be found or loaded, or has no reward head.
    pub fn reward_model(
        &self,
        artifacts: &BlockingArtifacts,
        which: &ModelRef,
    ) -> Result<Loaded<ScalarModel>, Failure> {
        let path = locate(artifacts, which)?;
        locked(&self.reward_models).get_or_make(path.clone(), || {
            let checkpoint = Checkpoint::open(&path)?;
            let model = ScalarModel::load(&checkpoint, &self.device, DType::F32)?;
            Ok(Loaded { checkpoint: Arc::new(checkpoint), model })
        })
    }
}

/// Where the files of a model lie on this machine; of a version, those of its start.
pub(crate) fn locate(artifacts: &BlockingArtifacts, which: &ModelRef) -> Result<PathBuf, Failure> {
    match which {
        ModelRef::Named(spec) => Ok(Store::from_env().find(spec)?),
        ModelRef::Saved(folder) => Ok(artifacts.local_folder(folder)?),
        ModelRef::Version { start, .. } => locate(artifacts, start),
    }
}

/// A cache is whole between calls, so one that a panic left locked is taken over.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
