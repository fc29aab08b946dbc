//! `/metrics`, `/livez` and `/readyz` over plain HTTP on a port of their own, for scrapers and for
//! orchestrators that do not speak gRPC.

use crate::config::{Problems, Validate};
use crate::server::Health;
use crate::server::incoming::{Connection, Incoming};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming as RequestBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Scrapers and probes at once; more wait in the system's backlog.
const MAX_CONNECTIONS: usize = 32;
/// How long a request's head may take, and how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where metrics are shown.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach. There is neither TLS nor a token here, so keep
    /// it within the cluster's network.
    pub allow_remote: bool,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        problems.check(
            self.allow_remote || self.address.ip().is_loopback(),
            "address",
            "is reachable from other machines; set allow_remote = true if that is meant",
        );
    }
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not ours to take.
    #[error("cannot listen on {address} for metrics: {source}; choose another metrics.address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A bound endpoint.
#[derive(Debug)]
pub struct Endpoint {
    incoming: Incoming,
    address: SocketAddr,
    registry: Registry,
    health: Health,
}

impl Endpoint {
    /// Takes the port. `health` decides about `/readyz`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn bind(config: &Config, registry: Registry, health: Health) -> Result<Self, Error> {
        let address = config.address;
        let (incoming, address) = Incoming::bind(address, MAX_CONNECTIONS)
            .await
            .map_err(|source| Error::Bind { address, source })?;
        Ok(Self { incoming, address, registry, health })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`. Start it with the server, and end it after the server has drained:
    /// an orchestrator looks at `/readyz` to see the drain.
    ///
    /// # Errors
    /// None; the type is that of a [task](crate::shutdown::Tasks::spawn).
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        // Cuts connections when this future ends or is dropped.
        let _cut = self.incoming.cut_on_drop();
        loop {
            let connection = tokio::select! {
                connection = self.incoming.accept() => connection,
                () = shutdown.cancelled() => return Ok(()),
            };
            tokio::spawn(answer(connection, self.registry.clone(), self.health.clone()));
        }
    }
}

async fn answer(connection: Connection, registry: Registry, health: Health) {
    let respond = service_fn(move |request: Request<RequestBody>| {
        let response = response(request.uri().path(), &registry, &health);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(connection), respond)
        .await;
    if let Err(error) = served {
        tracing::debug!("metrics connection: {error}");
    }
}

fn response(path: &str, registry: &Registry, health: &Health) -> Response<String> {
    let (status, body) = match path {
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        // That it answers is the answer: the process runs and its runtime is not stuck.
        "/livez" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if health.is_ready() => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n".to_owned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // The version of the text format is part of its type.
    let text = http::HeaderValue::from_static(prometheus::TEXT_FORMAT);
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
