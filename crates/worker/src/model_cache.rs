//! Models of a process, each loaded once however many roles it has.

use crate::Failure;
use crate::lru::Lru;
use crate::training::{load_state, trainable};
use burn::tensor::{DType, Device};
use rlaif_artifacts::BlockingArtifacts;
use rlaif_hub::Store;
use rlaif_job::ModelRef;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use rlaif_types::Precision;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A model and what came with it. Clones share everything.
#[derive(Clone)]
pub struct Loaded<M> {
    /// Tokenizer, template, configuration, hash.
    pub checkpoint: Arc<Checkpoint>,
    /// The weights.
    pub model: M,
}

/// Where a model lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its files; of a version, those of its start.
    pub path: PathBuf,
    /// Which of those that were saved under one name it is; none where it has no such name.
    pub revision: Option<String>,
    /// The same for all that were saved under one name.
    pub(crate) home: PathBuf,
}

/// A model under its home, and which of those saved there it is.
type Kept<M> = (Option<String>, Loaded<M>);

/// Models by where they lie. One that was saved again takes the place of the one before.
pub struct ModelCache {
    device: Device,
    /// What models compute in.
    activations: DType,
    policies: Mutex<Lru<PathBuf, Kept<CausalLm>>>,
    reward_models: Mutex<Lru<PathBuf, Kept<ScalarModel>>>,
}

impl ModelCache {
    /// Keeps at most `capacity` language models and as many reward models on `device`, which compute in
    /// `precision`.
    ///
    /// # Errors
    /// When the device cannot be used, or not with that precision.
    pub fn new(
        device: DeviceName,
        precision: Precision,
        capacity: usize,
    ) -> Result<Self, rlaif_models::Error> {
        Ok(Self {
            activations: device.computing_in(precision)?,
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
        let at = locate(artifacts, which)?;
        kept(&self.policies, &at, |path| {
            let checkpoint = open_checkpoint(path)?;
            // Training keeps f32 weights; see ARCHITECTURE.md on precision.
            let model = CausalLm::load(&checkpoint, &self.device, DType::F32)?;
            let model = model.with_activations(self.activations);
            Ok(Loaded { checkpoint: Arc::new(checkpoint), model })
        })
    }

    /// The reward model that lies there.
    ///
    /// # Errors
    /// When it cannot be loaded, or has no reward head.
    pub fn reward_model(&self, at: &Located) -> Result<Loaded<ScalarModel>, Failure> {
        kept(&self.reward_models, at, |path| {
            let checkpoint = open_checkpoint(path)?;
            let model = ScalarModel::load(&checkpoint, &self.device, DType::F32)?;
            let model = model.with_activations(self.activations);
            Ok(Loaded { checkpoint: Arc::new(checkpoint), model })
        })
    }
}

/// Opens the model at `path`. The base of an adapter is looked up among the models of this machine.
///
/// # Errors
/// When anything is missing, damaged, or not supported.
pub fn open_checkpoint(path: &Path) -> Result<Checkpoint, rlaif_models::Error> {
    Checkpoint::open_with(path, &|base| {
        let found = Store::from_env().find_base(&base.name, base.revision.as_deref());
        found.map_err(|e| e.to_string())
    })
}

/// The model at `at`, loaded if it is not in the cache.
fn kept<M: Clone>(
    cache: &Mutex<Lru<PathBuf, Kept<M>>>,
    at: &Located,
    load: impl FnOnce(&Path) -> Result<Loaded<M>, Failure>,
) -> Result<Loaded<M>, Failure> {
    let is_it = |kept: &Kept<M>| kept.0 == at.revision;
    let load = || Ok::<_, Failure>((at.revision.clone(), load(&at.path)?));
    Ok(locked(cache).get_or_make(at.home.clone(), is_it, load)?.1)
}

/// Where the files of a model lie on this machine; of a version, those of its start.
pub(crate) fn locate(artifacts: &BlockingArtifacts, which: &ModelRef) -> Result<Located, Failure> {
    match which {
        ModelRef::Named(spec) => {
            let path = Store::from_env().find(spec)?;
            Ok(Located { home: path.clone(), path, revision: None })
        }
        ModelRef::Saved(folder) => {
            let revision = Some(artifacts.revision(folder)?);
            let home = PathBuf::from(artifacts.location(folder)?);
            Ok(Located { path: artifacts.local_folder(folder)?, revision, home })
        }
        ModelRef::Version { start, .. } => locate(artifacts, start),
    }
}

/// A cache is whole between calls, so one that a panic left locked is taken over.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
