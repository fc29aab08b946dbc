//! Health alone, on a port of its own without TLS: an orchestrator that probes over gRPC has neither the
//! authority nor a certificate (Kubernetes' probes speak no TLS), and health says only yes or no.

use super::incoming::Incoming;
use super::{Error, Health, connections};
use crate::config::{Problems, Validate};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use tonic::transport;

/// Calls of one prober at once: one for each thing that it asks, and some to spare.
const MAX_CALLS_PER_CONNECTION: u32 = 8;
/// Size of a probe's headers.
const MAX_HEADER_BYTES: u32 = 4_096;

/// Where probes are answered without TLS.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach.
    pub allow_remote: bool,
    /// Connections at once; further ones wait in the system's backlog.
    pub max_connections: usize,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        problems.check_address(self.address, self.allow_remote);
        problems.check(self.max_connections > 0, "max_connections", "must be at least 1");
    }
}

/// A bound port that answers no probes yet.
#[derive(Debug)]
pub(super) struct ProbePort {
    incoming: Incoming,
    pub address: SocketAddr,
}

impl ProbePort {
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let bound = Incoming::bind("server.probes.address", config.address, config.max_connections);
        let (incoming, address) = bound.await?;
        Ok(Self { incoming, address })
    }

    /// Answers until it is dropped, through the server's drain: that is when probes are looked at most.
    pub async fn serve(self, health: Health) -> Result<(), Error> {
        let _cut = self.incoming.cut_on_drop();
        transport::Server::builder()
            .max_concurrent_streams(MAX_CALLS_PER_CONNECTION)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .add_service(health.service())
            .serve_with_incoming(connections(self.incoming))
            .await?;
        Ok(())
    }
}
