//! Labelers by name: models of this process, and models behind endpoints.

use crate::commands::model;
use anyhow::{Context, Result};
use clap::Args;
use rlaif_judge::{EndpointEngine, Engine, LocalEngine};
use rlaif_models::DeviceName;
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

/// Starts labelers.
pub struct Labelers {
    device: DeviceName,
    /// Carries calls to endpoints; there is none before the first of them.
    runtime: Option<Runtime>,
}

impl Labelers {
    /// Labelers on the device of `args`.
    pub fn new(args: &LabelersArgs) -> Self {
        Self { device: args.device, runtime: None }
    }

    /// Starts the labeler of this name, and says where it runs: `local`, or the endpoint's address.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn start(&mut self, name: &str) -> Result<(Arc<dyn Engine>, String)> {
        if name.ends_with(".toml") {
            return self.endpoint(Path::new(name));
        }
        let engine = model::start(name, self.device)?;
        Ok((Arc::new(LocalEngine::new(Arc::new(engine))), "local".to_owned()))
    }

    fn endpoint(&mut self, path: &Path) -> Result<(Arc<dyn Engine>, String)> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let endpoint: Endpoint = toml::from_str(&text).with_context(|| format!("{shown}"))?;
        let address = endpoint.base_url.clone();
        let client = Client::new(endpoint).with_context(|| format!("{shown}"))?;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Runtime::new().context("starting a runtime for calls to endpoints")?,
        };
        let runtime = self.runtime.insert(runtime);
        let engine = EndpointEngine::new(client, runtime.handle().clone());
        Ok((Arc::new(engine), address))
    }
}
