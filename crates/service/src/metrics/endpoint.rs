//! `/metrics`, `/livez` and `/readyz` over plain HTTP on a port of their own, for scrapers and for
//! orchestrators that do not speak gRPC.

use crate::http::{Config, HttpServer, status};
use crate::server::{BindError, Health};
use http::{Response, StatusCode};
use prometheus::{Registry, TextEncoder};
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not ours to take.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// A bound endpoint.
#[derive(Debug)]
pub struct Endpoint {
    server: HttpServer,
    registry: Registry,
    health: Health,
}

impl Endpoint {
    /// Takes the port. `health` decides about `/readyz`.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn bind(config: &Config, registry: Registry, health: Health) -> Result<Self, Error> {
        let server = HttpServer::bind("metrics.address", config).await?;
        Ok(Self { server, registry, health })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Answers until `shutdown`. Start it with the server, and end it after the server has drained:
    /// an orchestrator looks at `/readyz` to see the drain.
    ///
    /// # Errors
    /// None; the type is that of a [task](crate::shutdown::Tasks::spawn).
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self { server, registry, health } = self;
        let answer = move |request: http::Request<_>| {
            ready(response(request.uri().path(), &registry, &health))
        };
        server.serve(answer, shutdown).await
    }
}

fn response(path: &str, registry: &Registry, health: &Health) -> Response<String> {
    let mut response = match path {
        "/metrics" => match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(text) => status(StatusCode::OK, text),
            Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        // That it answers is the answer: the process runs and its runtime is not stuck.
        "/livez" => status(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if health.is_ready() => status(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => status(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        _ => status(StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n".to_owned()),
    };
    // The version of the text format is part of its type.
    let text = http::HeaderValue::from_static(prometheus::TEXT_FORMAT);
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
