//! Models of a run, each loaded once however many roles it has.

use crate::Error;
use rlaif_hub::Store;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, Engine, EngineModel, EngineOptions};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// A loaded model and what came with it.
pub struct Loaded {
    /// Tokenizer, template, configuration, hash.
    pub checkpoint: Checkpoint,
    /// The weights.
    pub model: CausalLm,
}

impl Loaded {
    /// An engine that runs `model`, which has this checkpoint's tokenizer.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn engine(&self, model: impl Into<EngineModel>) -> Result<Engine, Error> {
        Ok(Engine::start(model, &self.checkpoint, EngineOptions::default())?)
    }
}

/// Loaded models by where they came from.
pub struct Models {
    device: DeviceName,
    loaded: HashMap<PathBuf, Rc<Loaded>>,
}

impl Models {
    /// # Errors
    /// When the device's name is none.
    pub fn new(device: &str) -> Result<Self, Error> {
        let device = device.parse().map_err(|what: String| {
            Error::Model(rlaif_models::Error::Device { device: device.into(), what })
        })?;
        Ok(Self { device, loaded: HashMap::new() })
    }

    /// The model at `spec`: a folder, a .gguf file, or a pulled model. The network is
    /// not used.
    ///
    /// # Errors
    /// When it cannot be found or loaded.
    pub fn load(&mut self, spec: &str) -> Result<Rc<Loaded>, Error> {
        let path = Store::from_env().find(spec)?;
        if let Some(loaded) = self.loaded.get(&path) {
            return Ok(loaded.clone());
        }
        let device = self.device.open()?;
        let checkpoint = Checkpoint::open(&path)?;
        // Training keeps f32 weights; see ARCHITECTURE.md on precision.
        let model = CausalLm::load(&checkpoint, &device, burn::tensor::DType::F32)?;
        let loaded = Rc::new(Loaded { checkpoint, model });
        self.loaded.insert(path, loaded.clone());
        Ok(loaded)
    }
}
