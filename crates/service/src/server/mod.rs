//! A gRPC server as every service runs it: bound early, with health, reflection, TLS, roles, bounds
//! on everything, and a drain at the end.

mod body;
mod call;
mod health;
pub(crate) mod incoming;
mod places;
mod probes;

pub use call::Deadline;
pub use health::{Health, LIVENESS, READINESS, STARTUP};
pub use incoming::BindError;
pub use probes::Config as ProbesConfig;

use crate::auth::{self, AuthRules, Guard, Rule};
use crate::config::{Problems, Validate};
use crate::tls::{self, ServerTls};
use call::{Calls, Limits};
use futures_util::{Stream, stream};
use incoming::{Connection, Incoming};
use places::Places;
use probes::ProbePort;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::ServerTlsConfig;

/// Where a server listens and what it allows.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach. It takes TLS and tokens too.
    pub allow_remote: bool,
    /// TLS; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// A port for probes that speak no TLS; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<ProbesConfig>,
    /// Who may call.
    pub auth: auth::Config,
    /// Connections at once; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// Calls with one answer that are worked on at once, over all connections; further ones are refused.
    pub max_calls: usize,
    /// Calls whose answer is a stream, open at once; further ones are refused.
    pub max_streams: usize,
    /// Watches of the server's health, which take no token, open at once; further ones are refused.
    pub max_health_watches: usize,
    /// Share of the calls, and of the streams, that one caller has at most, where callers have tokens.
    pub caller_share: f64,
    /// How many of the calls, and of the streams, only administrators get.
    pub kept_for_admins: usize,
    /// Calls at once on one connection; a well-behaved client waits with further ones.
    pub max_calls_per_connection: u32,
    /// Size of a message that a client sends. Generated servers have a limit of their own, 4 MiB,
    /// which `max_decoding_message_size` raises.
    pub max_request_bytes: usize,
    /// Size of a message that a handler answers.
    pub max_response_bytes: usize,
    /// Size of a call's headers.
    pub max_header_bytes: u32,
    /// How long a handler may take to answer, or to begin a stream, if its caller waits that long.
    #[serde(with = "humantime_serde")]
    pub handler_timeout: Duration,
    /// What a refused caller is told to wait.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// How often a silent connection is probed.
    #[serde(with = "humantime_serde")]
    pub keep_alive_interval: Duration,
    /// How long a probe waits before the connection is given up.
    #[serde(with = "humantime_serde")]
    pub keep_alive_timeout: Duration,
    /// Age at which a connection is asked to close when its calls are done, so that clients spread
    /// over new instances.
    #[serde(with = "humantime_serde")]
    pub max_connection_age: Duration,
    /// How long the server still accepts calls after it has said that it is not ready, for load
    /// balancers to notice.
    #[serde(with = "humantime_serde")]
    pub drain_delay: Duration,
    /// How long calls in progress may take to end after that; then their connections are cut.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        self.validate_exposure(problems);
        problems.section("auth", &self.auth);
        if let Some(probes) = &self.probes {
            problems.section("probes", probes);
        }
        for (field, bound) in [
            ("max_connections", self.max_connections),
            ("max_calls", self.max_calls),
            ("max_streams", self.max_streams),
            ("max_health_watches", self.max_health_watches),
            ("max_calls_per_connection", self.max_calls_per_connection as usize),
            ("max_request_bytes", self.max_request_bytes),
            ("max_response_bytes", self.max_response_bytes),
            ("max_header_bytes", self.max_header_bytes as usize),
        ] {
            problems.check(bound > 0, field, "must be at least 1");
        }
        let share = self.caller_share > 0.0 && self.caller_share <= 1.0;
        problems.check(share, "caller_share", "must be above 0 and at most 1");
        let left = self.kept_for_admins < self.max_calls.min(self.max_streams);
        let all = "must be less than max_calls and max_streams, or nobody else is answered";
        problems.check(left, "kept_for_admins", all);
        for (field, time) in [
            ("handler_timeout", self.handler_timeout),
            ("keep_alive_interval", self.keep_alive_interval),
            ("keep_alive_timeout", self.keep_alive_timeout),
            ("max_connection_age", self.max_connection_age),
        ] {
            problems.check(!time.is_zero(), field, "must be longer than zero");
        }
    }
}

impl Config {
    fn validate_exposure(&self, problems: &mut Problems) {
        problems.check_address(self.address, self.allow_remote);
        if self.address.ip().is_loopback() {
            return;
        }
        let clear = "must be given: the address is reachable from other machines";
        problems.check(self.tls.is_some(), "tls", clear);
        let open = "must be true: the address is reachable from other machines";
        problems.check(self.auth.enabled, "auth.enabled", open);
    }
}

/// Why a server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is unsafe or senseless.
    #[error("server: {0}")]
    Config(Problems),
    /// A certificate or key is unusable.
    #[error("server.tls: {0}")]
    Tls(#[from] tls::Error),
    /// The port is taken or not ours to take.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The table of access rules is not whole.
    #[error(transparent)]
    Rules(#[from] auth::Error),
    /// The descriptor set cannot be reflected.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// What a server serves.
#[derive(Debug, Clone)]
pub struct Api {
    /// The generated services.
    pub routes: Routes,
    /// The encoded `FileDescriptorSet` of those services.
    pub descriptor: &'static [u8],
    /// Who may call each of their methods.
    pub rules: &'static [Rule],
}

/// A server that has its port and its certificates but answers no calls yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    incoming: Incoming,
    address: SocketAddr,
    probes: Option<ProbePort>,
    tls: Option<ServerTlsConfig>,
    health: Health,
}

impl Server {
    /// Checks the configuration and takes the ports, so that a mistake shows before models are loaded.
    ///
    /// # Errors
    /// When the configuration is unsafe, a certificate unusable or a port not to be had.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let problems = Problems::of(&config);
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let tls = config.tls.as_ref().map(ServerTls::load).transpose()?;
        let bound = Incoming::bind("server.address", config.address, config.max_connections);
        let (incoming, address) = bound.await?;
        let probes = match &config.probes {
            Some(probes) => Some(ProbePort::bind(probes).await?),
            None => None,
        };
        Ok(Self { config, incoming, address, probes, tls, health: Health::new().await })
    }

    /// Where it listens, with the port that it got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where probes without TLS are answered, if anywhere.
    pub fn probes_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().map(|port| port.address)
    }

    /// Its health, which the service sets.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves `api` until `shutdown`, then drains: says it is not ready, waits for load balancers to
    /// notice, refuses new connections, waits for calls in progress, and cuts what is left.
    /// Dropping the future cuts all connections at once.
    ///
    /// # Errors
    /// When a method has no access rule, or the transport fails.
    pub async fn serve(self, api: Api, shutdown: CancellationToken) -> Result<(), Error> {
        let _cut = self.incoming.cut_on_drop();
        let rules = AuthRules::new(api.descriptor, api.rules)?;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(api.descriptor)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = api
            .routes
            .add_service(self.health.service())
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        let limits = Limits {
            handler_timeout: self.config.handler_timeout,
            request_bytes: self.config.max_request_bytes,
            response_bytes: self.config.max_response_bytes,
            retry_after: self.config.retry_after,
        };
        let guard = Guard::new(&self.config.auth, rules);
        let calls = Calls::new(routes, guard, limits, Places::new(&self.config));

        let closing = CancellationToken::new();
        let serving = transport(&self.config, self.tls)?.serve_with_incoming_shutdown(
            calls,
            connections(self.incoming),
            closing.clone().cancelled_owned(),
        );
        let drain = drain(&self.config, &self.health, &shutdown, &closing);
        let probes = answer_probes(self.probes, self.health.clone());
        tokio::select! {
            served = serving => Ok(served?),
            () = drain => Ok(()),
            failed = probes => failed,
        }
    }
}

/// Returns only when that fails; without a port there is nothing to fail.
async fn answer_probes(port: Option<ProbePort>, health: Health) -> Result<(), Error> {
    match port {
        Some(port) => port.serve(health).await,
        None => std::future::pending().await,
    }
}

/// Waits for `shutdown`, ends gracefully through `closing`, and returns when time is up.
async fn drain(
    config: &Config,
    health: &Health,
    shutdown: &CancellationToken,
    closing: &CancellationToken,
) {
    shutdown.cancelled().await;
    health.set_ready(false).await;
    tokio::time::sleep(config.drain_delay).await;
    closing.cancel();
    health.end_watches().await;
    tokio::time::sleep(config.drain_timeout).await;
    tracing::warn!("calls were still in progress after server.drain_timeout: they are cut off");
}

/// tonic's own `max_connection_age_grace` stays unset: with it a connection is closed without being
/// asked to close first.
fn transport(
    config: &Config,
    tls: Option<ServerTlsConfig>,
) -> Result<tonic::transport::Server, Error> {
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(config.max_calls_per_connection)
        .http2_max_header_list_size(config.max_header_bytes)
        .http2_keepalive_interval(Some(config.keep_alive_interval))
        .http2_keepalive_timeout(Some(config.keep_alive_timeout))
        .max_connection_age(config.max_connection_age);
    Ok(match tls {
        Some(tls) => server.tls_config(tls)?,
        None => server,
    })
}

fn connections(
    incoming: Incoming,
) -> Pin<Box<dyn Stream<Item = std::io::Result<Connection>> + Send>> {
    Box::pin(stream::unfold(incoming, |incoming| async {
        let connection = incoming.accept().await;
        Some((Ok(connection), incoming))
    }))
}
