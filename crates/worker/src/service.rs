//! What makes a network service of one kind of worker.

use crate::{Executor, Resources};
use rlaif_job::WorkerKind;
use rlaif_service::batcher::EngineThread;
use rlaif_service::config::Validate;
use rlaif_service::server::Api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A further task of a worker's process, ended by its token.
pub type Task = Box<
    dyn FnOnce(CancellationToken) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        + Send,
>;

/// A kind of worker, as a [`Host`](crate::Host) runs it.
pub trait Service: 'static {
    /// What it calls itself: `rlaif-labeler`.
    const NAME: &'static str;
    /// Whose queue it serves.
    const KIND: WorkerKind;
    /// Commented defaults of its section `direct`.
    const DEFAULTS: &'static str;
    /// Configuration of what direct callers are served: the section `direct`.
    type Direct: DeserializeOwned + Serialize + Validate + Send + 'static;

    /// Makes its parts. Called on a thread that may block, inside the runtime.
    ///
    /// # Errors
    /// When what is configured cannot be served; the message says how to mend it.
    fn build(direct: Self::Direct, resources: &Resources) -> Result<Parts, String>;
}

/// What a worker's process runs beside what all have.
pub struct Parts {
    /// Does the queue's work.
    pub executor: Arc<dyn Executor>,
    /// Answers direct callers.
    pub api: Api,
    /// Threads of the batchers behind it, which end after the server.
    pub engines: Vec<EngineThread>,
    /// Further ways to reach it, by name.
    pub tasks: Vec<(&'static str, Task)>,
}
