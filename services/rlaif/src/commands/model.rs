//! Options that name a model and a device.

use super::download::DownloadBar;
use anyhow::{Context, Result};
use clap::Args;
use rlaif_hub::Store;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, Engine, EngineOptions};
use rlaif_worker::open_checkpoint;

#[derive(Args)]
pub struct ModelArgs {
    /// A folder with config.json, a .gguf file, a name from `rlaif models list`, or hf:owner/name or
    /// hf:owner/name/file.gguf of the Hugging Face hub, pulled where it is not there yet.
    #[arg(long, short)]
    pub model: String,

    /// Where to run: cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    pub device: DeviceName,
}

impl ModelArgs {
    /// Starts an engine for the model.
    pub fn start(&self) -> Result<Engine> {
        start(&self.model, self.device)
    }
}

/// Starts an engine for the model of this name, which is pulled where it is not there yet.
pub fn start(name: &str, on: DeviceName) -> Result<Engine> {
    load(&open(name)?, name, on)
}

/// Opens the model of this name, which is pulled where it is not there yet.
pub fn open(name: &str) -> Result<Checkpoint> {
    Ok(open_checkpoint(&Store::from_env().resolve(name, &mut DownloadBar::new())?)?)
}

/// Starts an engine for an opened model.
pub fn load(checkpoint: &Checkpoint, name: &str, on: DeviceName) -> Result<Engine> {
    let device = on.open()?;
    let model = CausalLm::load(checkpoint, &device, on.default_dtype())
        .with_context(|| format!("loading {name}"))?;
    Ok(Engine::start(model, checkpoint, EngineOptions::default())?)
}
