//! The coordinator as a network service: `JobService` over gRPC, queues in Redis.
//!
//! It answers from the start, that it waits, and is ready once its queues have answered. It stays so when
//! Redis goes away later: what is asked of it is mostly in its journal. A journal that fails ends it.

mod access;
mod config;
mod files;
mod handler;
mod watch;
mod wire;

pub use access::RULES;
pub use config::{Config, CoordinatorConfig};
pub(crate) use handler::Handler;

use crate::page::{self, Page};
use crate::{Coordinator, Error as JobError, Limits, Places, Queues};
use rlaif_artifacts::ArtifactStore;
use rlaif_cluster::QueueConfig;
use rlaif_proto::coordinator::FILE_DESCRIPTOR_SET;
use rlaif_proto::coordinator::v1::job_service_server::JobServiceServer;
use rlaif_service::server::{Api, Health, Server};
use rlaif_service::shutdown::{self, Tasks};
use rlaif_service::{metrics, server, telemetry};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// How long Redis may take at the start before it is said that it is waited for.
const SAY_SO_AFTER: Duration = Duration::from_secs(3);
/// Pause before what is away at the start is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long the last traces and metrics may take on their way.
const FLUSH: Duration = Duration::from_secs(5);

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Telemetry.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The server.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The endpoint for metrics.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    /// The live page.
    #[error(transparent)]
    Page(#[from] page::Error),
    /// The queues, the journal or the artifact store.
    #[error(transparent)]
    Coordinator(#[from] JobError),
    /// A task.
    #[error(transparent)]
    Ended(#[from] shutdown::Error),
}

/// Runs a coordinator until `shutdown`.
///
/// # Errors
/// When something that it cannot do without fails for good.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let who = telemetry::Identity {
        service: "rlaif-coordinator",
        version: env!("CARGO_PKG_VERSION"),
        instance: config.server.address.to_string(),
    };
    let telemetry = telemetry::init(&config.telemetry, &who)?;
    let mut tasks = Tasks::new(shutdown, config.shutdown.grace);
    let service = Service::bind(config.clone()).await?;
    let scraped =
        metrics::Endpoint::bind(&config.metrics, telemetry.registry(), service.health()).await?;
    tracing::info!(address = %service.address(), "listening");
    if let Some(address) = service.page_address() {
        tracing::info!(%address, "the live page is served");
    }
    let drained = service.start(connect(config.queue), &mut tasks);
    // The metrics endpoint ends after the server, so that the drain can be watched.
    tasks.spawn("metrics", scraped.serve(drained));
    let ended = tasks.join().await;
    telemetry.shutdown(FLUSH).await;
    Ok(ended?)
}

/// A coordinator that has its ports and answers no calls yet.
pub struct Service {
    config: Config,
    server: Server,
    page: Option<Page>,
}

impl Service {
    /// Takes the ports, so that a mistake shows at once.
    ///
    /// # Errors
    /// When the configuration is unsafe, or a port is not to be had.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let server = Server::bind(config.server.clone()).await?;
        let page = Page::bind(&config).await?;
        Ok(Self { config, server, page })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where the live page is; none where it is switched off.
    pub fn page_address(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(Page::address)
    }

    /// Whether it has started and is ready.
    pub fn health(&self) -> Health {
        self.server.health()
    }

    /// Starts the server, and the coordinator once there are `queues`. The token that is returned is
    /// cancelled when the server has drained.
    pub fn start(
        self,
        queues: impl Future<Output = Result<Queues, JobError>> + Send + 'static,
        tasks: &mut Tasks,
    ) -> CancellationToken {
        let (config, health, drained) =
            (self.config, self.server.health(), CancellationToken::new());
        let (shutdown, coordinator) = (tasks.shutdown(), Arc::new(OnceLock::new()));
        let handler = Handler { coordinator: coordinator.clone(), shutdown: shutdown.clone() };
        if let Some(page) = self.page {
            tasks.spawn("page", page.serve(handler.clone(), shutdown.clone()));
        }
        let service = JobServiceServer::new(handler)
            .max_decoding_message_size(config.server.max_request_bytes)
            .max_encoding_message_size(config.server.max_response_bytes);
        let api =
            Api { routes: Routes::new(service), descriptor: FILE_DESCRIPTOR_SET, rules: RULES };
        let (server, stop, end) = (self.server, shutdown.clone(), drained.clone().drop_guard());
        tasks.spawn("server", async move {
            let _end = end;
            server.serve(api, stop).await
        });
        tasks.spawn("coordinator", async move {
            // All else is waited for: a restart would not bring it back.
            health.set_loaded().await;
            let opened = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                opened = open(&config, queues) => opened?,
            };
            let opened = coordinator.get_or_init(|| opened);
            health.set_ready(true).await;
            opened.run(shutdown.child_token()).await
        });
        drained
    }
}

/// Connects to Redis, however long that takes.
async fn connect(config: QueueConfig) -> Result<Queues, JobError> {
    let address = config.address();
    let mut said = false;
    loop {
        let connecting = Queues::connect(&address, &config.options);
        match tokio::time::timeout(SAY_SO_AFTER, connecting).await {
            Ok(Ok(queues)) => {
                tracing::info!(?address, "connected to the queue");
                warn_of_broken_promises(&queues).await;
                return Ok(queues);
            }
            Ok(Err(error)) if !error.is_passing() => return Err(error.into()),
            _ if said => {}
            _ => {
                tracing::warn!(?address, "waiting for Redis; jobs are refused until it answers");
                said = true;
            }
        }
    }
}

async fn warn_of_broken_promises(queues: &Queues) {
    // One Redis holds all queues.
    let Some((_, queue)) = queues.each().next() else { return };
    match queue.probe().await {
        Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Err(error) => tracing::warn!(%error, "cannot ask Redis how durable it is"),
    }
}

/// Opens the journal and takes up running jobs; what is away is waited for.
async fn open(
    config: &Config,
    queues: impl Future<Output = Result<Queues, JobError>>,
) -> Result<Coordinator, JobError> {
    let queues = queues.await?;
    let places = Places::many_jobs(&config.coordinator.data_dir);
    let store = ArtifactStore::open(&config.artifacts.url, &config.artifacts.cache)?;
    let limits = Limits { max_running_jobs: config.coordinator.max_running_jobs };
    loop {
        match Coordinator::open(places.clone(), queues.clone(), store.clone(), limits).await {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "running jobs cannot be taken up yet; trying again");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            opened => return opened,
        }
    }
}
