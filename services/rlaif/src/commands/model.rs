//! Options that name a model and a device.

use anyhow::{Context, Result};
use clap::Args;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, Engine, EngineOptions, registry};

#[derive(Args)]
pub struct ModelArgs {
    /// A folder with config.json, a .gguf file, or the name of a pulled model.
    #[arg(long, short)]
    pub model: String,

    /// Where to run: cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceName,
}

impl ModelArgs {
    /// Starts an engine for the model.
    pub fn start(&self) -> Result<Engine> {
        let device = self.device.open()?;
        let checkpoint = Checkpoint::open(&registry::resolve(&self.model)?)?;
        let model = CausalLm::load(&checkpoint, &device, self.device.default_dtype())
            .with_context(|| format!("loading {}", self.model))?;
        Ok(Engine::start(model, &checkpoint, EngineOptions::default())?)
    }
}
