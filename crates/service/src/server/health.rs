//! Health as orchestrators ask for it: has it started, may it get traffic, is it alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// Names under which `grpc.health.v1.Health` answers. The empty name is readiness too.
pub const STARTUP: &str = "startup";
/// See [`STARTUP`].
pub const READINESS: &str = "readiness";
/// See [`STARTUP`].
pub const LIVENESS: &str = "liveness";

/// A server's health; clones share it.
///
/// Startup: the service has loaded what it needs. Readiness: it answers its callers. What it can tell them
/// without Redis or a store counts: an orchestrator leads no call to who is not ready, and replaces no
/// instance by one that is not. Liveness: the process is not stuck; it depends on nothing else, for a
/// restart does not bring Redis back.
#[derive(Debug, Clone)]
pub struct Health {
    reporter: HealthReporter,
    ready: Arc<AtomicBool>,
}

impl Health {
    /// Alive, not started, not ready.
    pub(crate) async fn new() -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status(STARTUP, ServingStatus::NotServing).await;
        reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
        let health = Self { reporter, ready: Arc::default() };
        health.set_ready(false).await;
        health
    }

    /// The service has loaded what it needs and is ready.
    pub async fn set_started(&self) {
        self.set_loaded().await;
        self.set_ready(true).await;
    }

    /// The service has loaded what it needs; before it is ready it waits for others.
    pub async fn set_loaded(&self) {
        self.reporter.set_service_status(STARTUP, ServingStatus::Serving).await;
    }

    /// Whether the service answers its callers.
    pub async fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(READINESS, status).await;
        self.reporter.set_service_status("", status).await;
    }

    /// Whether it was last set ready.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Ends the streams of those who watch: they would hold a drain up.
    pub(crate) async fn end_watches(&self) {
        let mut reporter = self.reporter.clone();
        for name in ["", STARTUP, READINESS, LIVENESS] {
            reporter.clear_service_status(name).await;
        }
    }

    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
