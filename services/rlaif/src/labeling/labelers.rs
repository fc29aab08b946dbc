//! Labelers by name: models of this process, and models behind endpoints.

use crate::commands::download::DownloadBar;
use anyhow::{Context, Result};
use clap::Args;
use rlaif_hub::Store;
use rlaif_judge::{EndpointEngine, Engine, LocalEngine};
use rlaif_models::{CausalLm, Checkpoint, DeviceName, EngineOptions};
use rlaif_openai::{Client, Endpoint};
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Runtime;

#[derive(Args)]
pub struct LabelersArgs {
    /// A folder with config.json, a .gguf file, a name from `rlaif models list`, hf:owner/name or
    /// hf:owner/name/file.gguf, or a .toml file that describes an OpenAI-compatible endpoint
    /// (base_url, model, api, api_key; see docs/labeling.md).
    #[arg(long, short, required = true)]
    pub model: Vec<String>,

    /// Where models of this process run: cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: DeviceName,
}

/// Labelers that are started, each once.
pub struct Labelers {
    device: DeviceName,
    /// Carries calls to endpoints.
    runtime: Runtime,
}

impl Labelers {
    /// # Errors
    /// When the system gives no threads.
    pub fn new(args: &LabelersArgs) -> Result<Self> {
        let runtime = Runtime::new().context("starting a runtime for calls to endpoints")?;
        Ok(Self { device: args.device, runtime })
    }

    /// Starts the labeler of this name, and says where it runs: `local`, or the endpoint's address.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn start(&self, name: &str) -> Result<(Arc<dyn Engine>, String)> {
        if name.ends_with(".toml") {
            return self.endpoint(Path::new(name));
        }
        let device = self.device.open()?;
        let path = Store::from_env().resolve(name, &mut DownloadBar::new())?;
        let checkpoint = Checkpoint::open(&path)?;
        let model = CausalLm::load(&checkpoint, &device, self.device.default_dtype())
            .with_context(|| format!("loading {name}"))?;
        let engine = rlaif_models::Engine::start(model, &checkpoint, EngineOptions::default())?;
        Ok((Arc::new(LocalEngine::new(Arc::new(engine))), "local".to_owned()))
    }

    fn endpoint(&self, path: &Path) -> Result<(Arc<dyn Engine>, String)> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let endpoint: Endpoint = toml::from_str(&text).with_context(|| format!("{shown}"))?;
        let address = endpoint.base_url.clone();
        let client = Client::new(endpoint).with_context(|| format!("{shown}"))?;
        let engine = EndpointEngine::new(client, self.runtime.handle().clone());
        Ok((Arc::new(engine), address))
    }
}
