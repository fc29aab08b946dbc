//! The process of a worker: bound early, loaded, then at its queue and its direct callers until the
//! shutdown.

use crate::queue_work::QueueWork;
use crate::{Config, Parts, Resources, Service};
use futures_util::future::join_all;
use rlaif_artifacts::ArtifactStore;
use rlaif_service::batcher::EngineThread;
use rlaif_service::metrics::{self, Endpoint, Registry};
use rlaif_service::server::{self, Server};
use rlaif_service::shutdown::{self, Tasks};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// What batchers may take to finish when their server has ended: nobody waits for their answers.
pub(crate) const ENGINE_GRACE: Duration = Duration::from_secs(1);

/// Why a worker did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its gRPC server.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Its metrics endpoint.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    /// The artifact store.
    #[error("artifacts.url: {0}")]
    Artifacts(#[from] rlaif_artifacts::Error),
    /// The device, or a model that is configured.
    #[error("{0}")]
    Load(String),
    /// A task that failed, panicked or did not end in time.
    #[error(transparent)]
    Task(#[from] shutdown::Error),
}

/// A worker that has its ports and nothing else yet.
pub struct Host<S: Service> {
    config: Config<S::Direct>,
    server: Server,
    endpoint: Endpoint,
}

impl<S: Service> Host<S> {
    /// Takes the ports, so that a mistake shows before models are loaded. `registry` is what the
    /// metrics endpoint shows.
    ///
    /// # Errors
    /// When a port is not to be had, or the server is configured unsafely.
    pub async fn bind(config: Config<S::Direct>, registry: Registry) -> Result<Self, Error> {
        let server = Server::bind(config.server.clone()).await?;
        let endpoint = Endpoint::bind(&config.metrics, registry, server.health()).await?;
        Ok(Self { config, server, endpoint })
    }

    /// Where direct callers are served.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.endpoint.address()
    }

    /// Loads what the worker needs, is ready then, and works until `shutdown`: the item in hand is given
    /// back at once, calls in progress are drained. Once they have ended or were cut off, nothing waits for
    /// what an engine has in hand. A Redis or an artifact store that is away is waited for; callers are
    /// answered meanwhile.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { config, server, endpoint } = self;
        let (health, address) = (server.health(), server.address());
        let drained = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown, config.shutdown.grace);
        // From the beginning and until after the server, so that loading and drain can be watched.
        tasks.spawn("metrics", endpoint.serve(drained.clone()));

        let store = ArtifactStore::open(&config.artifacts.url, &config.artifacts.cache)?;
        let options = config.worker.resources().map_err(Error::Load)?;
        let clerk = config.worker.ledger.clerk(config.worker.name()).map_err(Error::Load)?;
        let (runtime, artifacts) = (Handle::current(), store.clone());
        let load = move || {
            let resources =
                Resources::new(artifacts, runtime, options).map_err(|e| e.to_string())?;
            S::build(config.direct, &resources.with_clerk(clerk))
        };
        let parts = tokio::task::spawn_blocking(load).await;
        let Parts { executor, api, engines, tasks: further } =
            parts.map_err(|panic| Error::Load(panic.to_string()))?.map_err(Error::Load)?;

        // Before the server, whose drain is the last to say whether it is ready.
        health.set_started().await;
        let stop = tasks.shutdown();
        tasks.spawn("server", async move {
            let _drained = drained.drop_guard();
            let served = server.serve(api, stop).await;
            end(engines).await;
            served
        });
        for (name, task) in further {
            tasks.spawn(name, task(tasks.shutdown()));
        }
        let worker = config.worker.name();
        tracing::info!("{} {worker} answers on {address}", S::NAME);
        let (config, kind) = (config.queue, S::KIND);
        let work = QueueWork { config, kind, worker, executor, store };
        tasks.spawn("queue", work.run(tasks.shutdown()));
        Ok(tasks.join().await?)
    }
}

/// All at a time: they share one device, and one grace.
async fn end(engines: Vec<EngineThread>) {
    join_all(engines.into_iter().map(|engine| engine.drain(ENGINE_GRACE))).await;
}
