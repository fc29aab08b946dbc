//! Endpoints that a process asks, by the file that describes them: calls of all its jobs keep their limits
//! together.

use crate::model_cache::locked;
use crate::{Failure, spans};
use rlaif_judge::{EndpointEngine, Engine};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;

/// The endpoints that were asked so far.
pub(crate) struct Endpoints {
    runtime: Handle,
    opened: Mutex<HashMap<PathBuf, Arc<EndpointEngine>>>,
}

impl Endpoints {
    /// Calls run on `runtime`.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self { runtime, opened: Mutex::default() }
    }

    /// Does `work` with the endpoint that `path` describes. It is read once; a change of it counts from the
    /// next start of the process.
    pub(crate) fn lend<T>(
        &self,
        path: &Path,
        work: impl FnOnce(Arc<dyn Engine>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let engine = self.open(path)?;
        spans::model_call("chat", &engine.identity().name).in_scope(|| work(engine.clone()))
    }

    fn open(&self, path: &Path) -> Result<Arc<EndpointEngine>, Failure> {
        let mut opened = locked(&self.opened);
        if let Some(engine) = opened.get(path) {
            return Ok(engine.clone());
        }
        let engine = EndpointEngine::open(path, self.runtime.clone());
        let engine = Arc::new(engine.map_err(|e| Failure::impossible(e.to_string()))?);
        opened.insert(path.to_owned(), engine.clone());
        Ok(engine)
    }
}
