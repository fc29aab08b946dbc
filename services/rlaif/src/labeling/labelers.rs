//! Labelers by name: models of this process, and models behind endpoints.

use crate::commands::model;
use anyhow::{Context, Result};
use clap::Args;
use rlaif_hub::{Store, is_endpoint};
use rlaif_judge::{EndpointEngine, Engine, LocalEngine};
use rlaif_models::DeviceName;
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
        Self::on(args.device)
    }

    /// Labelers on this device.
    pub fn on(device: DeviceName) -> Self {
        Self { device, runtime: None }
    }

    /// Finds the labeler of this name, as [`start`](Self::start) will, and reads what it is; no weights yet.
    ///
    /// # Errors
    /// When there is none, or its files are damaged.
    pub fn find(&mut self, name: &str) -> Result<()> {
        match is_endpoint(name) {
            true => self.endpoint(name).map(drop),
            false => model::open(name).map(drop),
        }
    }

    /// Starts the labeler of this name.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn start(&mut self, name: &str) -> Result<Arc<dyn Engine>> {
        if is_endpoint(name) {
            return self.endpoint(name);
        }
        Ok(Arc::new(LocalEngine::new(Arc::new(model::start(name, self.device)?))))
    }

    /// An endpoint's file lies where it is named, or among the models.
    fn endpoint(&mut self, name: &str) -> Result<Arc<dyn Engine>> {
        let path = Store::from_env().find(name)?;
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Runtime::new().context("starting a runtime for calls to endpoints")?,
        };
        let runtime = self.runtime.insert(runtime);
        let opened = EndpointEngine::open(&path, runtime.handle().clone());
        Ok(Arc::new(opened.with_context(|| format!("{}", path.display()))?))
    }
}
