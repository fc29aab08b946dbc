//! Options that name a model and a device.

use anyhow::{Context, Result};
use clap::Args;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, Engine, EngineOptions};
use std::path::PathBuf;

#[derive(Args)]
pub struct ModelArgs {
    /// A folder with config.json, or a .gguf file.
    #[arg(long, short)]
    pub model: PathBuf,

    /// Where to run: cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceName,
}

impl ModelArgs {
    /// Starts an engine for the model.
    pub fn start(&self) -> Result<Engine> {
        let device = self.device.open()?;
        let checkpoint = Checkpoint::open(&self.model)?;
        let model = CausalLm::load(&checkpoint, &device, self.device.default_dtype())
            .with_context(|| format!("loading {}", self.model.display()))?;
        Ok(Engine::start(model, &checkpoint, EngineOptions::default())?)
    }
}
