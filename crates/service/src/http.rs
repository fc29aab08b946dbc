//! HTTP/1 for clients that do not speak gRPC: bounded, and without tokens; without TLS too unless it is
//! given, so it stays within a machine or a cluster's own network.

use crate::config::{Problems, Validate};
use crate::server::BindError;
use crate::server::incoming::Incoming;
use crate::tls::{self, HANDSHAKE_TIMEOUT, ServerTls};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming as RequestBody};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a request's head may take, and how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where it listens and what it allows.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach. There is neither TLS nor a token here, so keep
    /// it within the cluster's network.
    pub allow_remote: bool,
    /// Connections, and so requests, at once; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// Size of a request's body.
    pub max_request_bytes: usize,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        problems.check_address(self.address, self.allow_remote);
        problems.check(self.max_connections > 0, "max_connections", "must be at least 1");
        problems.check(self.max_request_bytes > 0, "max_request_bytes", "must be at least 1");
    }
}

/// A bound server.
#[derive(Debug)]
pub struct HttpServer {
    incoming: Incoming,
    address: SocketAddr,
    max_request_bytes: usize,
    tls: Option<Arc<ServerConfig>>,
}

impl HttpServer {
    /// Takes the port. `setting` is where its address is set: `metrics.address`.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn bind(setting: &'static str, config: &Config) -> Result<Self, BindError> {
        let bound = Incoming::bind(setting, config.address, config.max_connections);
        let (incoming, address) = bound.await?;
        Ok(Self { incoming, address, max_request_bytes: config.max_request_bytes, tls: None })
    }

    /// Speaks TLS.
    ///
    /// # Errors
    /// When a certificate or a key cannot be used.
    pub fn with_tls(self, tls: &ServerTls) -> Result<Self, tls::Error> {
        Ok(Self { tls: Some(tls.http()?), ..self })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `handler` until `shutdown`, which cuts what is in progress: whoever asks over
    /// plain HTTP asks again.
    ///
    /// # Errors
    /// None; the type is that of a [task](crate::shutdown::Tasks::spawn).
    pub async fn serve<F>(
        self,
        handler: impl Fn(Request<Bytes>) -> F + Clone + Send + 'static,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible>
    where
        F: Future<Output = Response<String>> + Send + 'static,
    {
        let max_bytes = self.max_request_bytes;
        let respond = service_fn(move |request: Request<RequestBody>| {
            let handler = handler.clone();
            async move {
                let (head, body) = request.into_parts();
                Ok::<_, Infallible>(match Limited::new(body, max_bytes).collect().await {
                    Ok(body) => handler(Request::from_parts(head, body.to_bytes())).await,
                    Err(error) if error.is::<LengthLimitError>() => {
                        let what = format!("the body has more than {max_bytes} bytes\n");
                        status(StatusCode::PAYLOAD_TOO_LARGE, what)
                    }
                    Err(error) => status(StatusCode::BAD_REQUEST, format!("{error}\n")),
                })
            }
        });
        self.serve_service(respond, shutdown).await
    }

    /// Answers with `service`, which bounds what it reads of a request's body itself.
    ///
    /// # Errors
    /// None; the type is that of a [task](crate::shutdown::Tasks::spawn).
    pub async fn serve_service<S, B>(
        self,
        service: S,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let _cut = self.incoming.cut_on_drop();
        loop {
            let connection = tokio::select! {
                connection = self.incoming.accept() => connection,
                () = shutdown.cancelled() => return Ok(()),
            };
            let service = service.clone();
            let tls = self.tls.clone().map(TlsAcceptor::from);
            tokio::spawn(async move {
                match tls {
                    None => answer(connection, service).await,
                    Some(tls) => match timeout(HANDSHAKE_TIMEOUT, tls.accept(connection)).await {
                        Ok(Ok(connection)) => answer(connection, service).await,
                        Ok(Err(error)) => tracing::debug!("TLS handshake: {error}"),
                        Err(_) => tracing::debug!("TLS handshake: the client took too long"),
                    },
                }
            });
        }
    }
}

async fn answer<C, S, B>(connection: C, service: S)
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + 'static,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(connection), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("HTTP connection: {error}");
    }
}

/// A response with this status and body.
pub fn status(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
