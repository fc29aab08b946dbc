//! Where the page is, and who may look at it.

use rlaif_service::config::Problems;
use rlaif_service::http;
use rlaif_service::server;
use rlaif_service::tls::ServerTls;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The section `page`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PageConfig {
    /// Whether there is a page.
    pub enabled: bool,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach. It takes TLS and tokens too.
    pub allow_remote: bool,
    /// Whoever reaches the page may look without a token. Changing anything still takes one.
    pub public: bool,
    /// TLS. When absent, the server's certificate, without asking browsers for one of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Connections at once, of which each open page holds one; further ones wait.
    pub max_connections: usize,
    /// Size of a request's body.
    pub max_request_bytes: usize,
}

impl PageConfig {
    /// TLS as it is spoken beside `server`'s.
    pub(super) fn tls_beside(&self, server: &server::Config) -> Option<ServerTls> {
        let of_server = || Some(ServerTls { client_ca: None, ..server.tls.clone()? });
        self.tls.clone().or_else(of_server)
    }

    pub(super) fn http(&self) -> http::Config {
        http::Config {
            address: self.address,
            allow_remote: self.allow_remote,
            max_connections: self.max_connections,
            max_request_bytes: self.max_request_bytes,
        }
    }

    /// Checks it beside `server`, whose tokens and certificate it shares.
    pub(crate) fn validate_beside(&self, server: &server::Config, problems: &mut Problems) {
        problems.section("page", &self.http());
        if self.enabled && !self.address.ip().is_loopback() {
            let reachable = "must be given: page.address is reachable from other machines";
            problems.check(self.tls_beside(server).is_some(), "page.tls", reachable);
            let open = "must be true: page.address is reachable from other machines";
            problems.check(server.auth.enabled, "server.auth.enabled", open);
        }
    }
}
