//! What happens to every call, in order: a span below the caller's, authentication, the deadline, a
//! place among those being answered, the handler, and a record when the last byte has left.

use super::body::{CallBody, RequestLimit};
use super::places::{Place, Places};
use crate::auth::{Caller, Guard};
use crate::metrics::{self, ServerMetrics, names};
use crate::status::overloaded;
use crate::telemetry;
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument, Span};

/// Calls to unknown paths are counted under this name.
const OTHER: &str = "_OTHER";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// When the caller of this call stops waiting; in the extensions of every request that has one. Hand
/// it on to the [batcher](crate::batcher::Batcher::submit) and to further calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

/// Bounds of a call.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) handler_timeout: Duration,
    pub(super) request_bytes: usize,
    pub(super) response_bytes: usize,
    pub(super) retry_after: Duration,
}

/// The service that all calls go through.
#[derive(Clone)]
pub(super) struct Calls {
    routes: Routes,
    guard: Arc<Guard>,
    limits: Arc<Limits>,
    places: Places,
    metrics: ServerMetrics,
}

impl Calls {
    pub(super) fn new(routes: Routes, guard: Guard, limits: Limits, places: Places) -> Self {
        Self {
            routes: routes.prepare(),
            guard: Arc::new(guard),
            limits: Arc::new(limits),
            places,
            metrics: ServerMetrics::new(),
        }
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let method = self.guard.rules().method(request.uri().path()).unwrap_or(OTHER);
        let span = span(method, request.headers());
        let mut record = Record::begin(method, span.clone(), self.metrics.clone());
        let limits = self.limits.clone();
        match self.admit_and_handle(method, request).instrument(span).await {
            Ok((response, place, deadline)) => {
                // A handler that fails at once has its status in the head and sends no body.
                if let Some(status) = Status::from_header_map(response.headers()) {
                    record.note(status.code());
                }
                response.map(|body| {
                    Body::new(CallBody::new(body, record, place, deadline, limits.response_bytes))
                })
            }
            Err(status) => {
                record.note(status.code());
                status.into_http()
            }
        }
    }

    async fn admit_and_handle(
        mut self,
        method: &'static str,
        mut request: Request<Body>,
    ) -> Result<(Response<Body>, Option<Place>, Option<Instant>), Status> {
        let path = request.uri().path().to_owned();
        let caller = self.guard.admit(&path, request.headers().get(AUTHORIZATION))?;
        let deadline = deadline(request.headers())?;
        let place = self.place(&path, method, caller.as_ref())?;
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        if let Some(at) = deadline {
            request.extensions_mut().insert(Deadline(at));
        }
        let limit = self.limits.request_bytes;
        let request = request.map(|body| Body::new(RequestLimit::new(body, limit)));
        let latest = Instant::now() + self.limits.handler_timeout;
        let until = deadline.map_or(latest, |at| at.min(latest));
        // The handler is gone after a panic, and what it shared guards itself (a poisoned lock).
        let handling = AssertUnwindSafe(self.routes.call(request)).catch_unwind();
        match tokio::time::timeout_at(until.into(), handling).await {
            Ok(Ok(Ok(response))) => Ok((response, place, deadline)),
            Ok(Err(_panic)) => Err(Status::internal("the handler panicked; see the server's log")),
            Err(_) => Err(Status::deadline_exceeded("the call's time passed on the server")),
        }
    }

    fn place(
        &self,
        path: &str,
        method: &'static str,
        caller: Option<&Caller>,
    ) -> Result<Option<Place>, Status> {
        let pool = match (path.starts_with(HEALTH), self.guard.rules().streams(path)) {
            // A full server is alive: probes need no place.
            (true, false) => return Ok(None),
            (true, true) => &self.places.health_watches,
            (false, true) => &self.places.streams,
            (false, false) => &self.places.calls,
        };
        pool.take(caller).map(Some).map_err(|full| {
            self.metrics.shed(method);
            overloaded(full.to_string(), self.limits.retry_after)
        })
    }
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Never waits: what cannot be answered now is shed.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move { Ok(calls.answer(request).await) })
    }
}

fn span(method: &'static str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "serve",
        otel.name = method,
        otel.kind = "server",
        { names::RPC_SYSTEM_NAME } = "grpc",
        { names::RPC_METHOD } = method,
        { names::RPC_RESPONSE_STATUS_CODE } = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    telemetry::continue_from(&span, |name| headers.get(name)?.to_str().ok());
    span
}

/// From the header `grpc-timeout`: up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Result<Option<Instant>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse_timeout);
    let timeout = timeout.ok_or_else(|| Status::invalid_argument("grpc-timeout is malformed"))?;
    Ok(Instant::now().checked_add(timeout))
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Records a call once: with the first status noted, or as cancelled when dropped before there is
/// one.
pub(super) struct Record {
    method: &'static str,
    span: Span,
    metrics: ServerMetrics,
    begun: Instant,
    ended: bool,
}

impl Record {
    fn begin(method: &'static str, span: Span, metrics: ServerMetrics) -> Self {
        metrics.begun();
        Self { method, span, metrics, begun: Instant::now(), ended: false }
    }

    pub(super) fn note(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.span.record(names::RPC_RESPONSE_STATUS_CODE, metrics::code_name(code));
        if is_server_error(code) {
            self.span.record("otel.status_code", "ERROR");
        }
        self.metrics.ended(self.method, code, self.begun.elapsed());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.note(Code::Cancelled);
    }
}

/// Codes that are the server's fault, as the conventions for spans of servers list them.
fn is_server_error(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7200))),
            ("3M", Some(Duration::from_secs(180))),
            ("10S", Some(Duration::from_secs(10))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("+1S", None),
            ("123456789S", None),
            ("10", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text}");
        }
    }
}
