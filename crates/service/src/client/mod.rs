//! Calls to other services: a channel that carries token and trace and spreads calls over all instances behind a
//! name, and a policy that bounds a call in time and repeats it where that is safe.

mod instances;

use crate::config::{Problems, Secret, Validate};
use crate::metrics::names;
use crate::telemetry;
use crate::tls::{self, ClientTls};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use instances::{Instances, Unreached};
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{self, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};
use tracing::Instrument;

/// Where a service is and how to call it.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `http://host:port`, or `https://host:port` with `tls`.
    pub endpoint: String,
    /// TLS, for an `https` endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// Our token there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// How long connecting may take.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// How often an idle connection is probed, so that a dead one is found before a call is.
    #[serde(with = "humantime_serde")]
    pub keep_alive_interval: Duration,
    /// Deadline and repetition of calls.
    pub calls: CallPolicy,
}

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is malformed.
    #[error("the endpoint {endpoint} is no address like http://host:port: {source}")]
    Endpoint {
        /// The address.
        endpoint: String,
        /// Why.
        source: transport::Error,
    },
    /// A certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The token has characters that no header can hold.
    #[error("the token holds characters that cannot be sent; tokens are printable ASCII")]
    Token,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        validate_address(&self.endpoint, self.tls.as_ref(), self.token.is_some(), problems);
        problems.check(!self.connect_timeout.is_zero(), "connect_timeout", "must not be zero");
        problems.check(
            !self.keep_alive_interval.is_zero(),
            "keep_alive_interval",
            "must not be zero",
        );
        problems.section("calls", &self.calls);
    }
}

/// Whether `endpoint` is an address, and one over which what we send is safe.
pub(crate) fn validate_address(
    endpoint: &str,
    tls: Option<&ClientTls>,
    has_token: bool,
    problems: &mut Problems,
) {
    if let Some(tls) = tls {
        problems.section("tls", tls);
    }
    let uri = endpoint.parse::<Uri>().ok();
    let Some(uri) = uri.filter(|uri| uri.host().is_some()) else {
        return problems.add("endpoint", "must be an address like http://host:port");
    };
    match uri.scheme_str() {
        Some("https") => problems.check(tls.is_some(), "tls.ca", "must be given for https"),
        Some("http") => {
            problems.check(tls.is_none(), "endpoint", "must be https where tls is given");
            let exposed = has_token && !is_loopback(&uri);
            problems.check(
                !exposed,
                "endpoint",
                "must be https: a token would travel in the clear",
            );
        }
        _ => problems.add("endpoint", "must begin with http:// or https://"),
    }
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// What generated clients are made over: connections to all instances behind the endpoint's name, made when first
/// needed and again when lost. Cheap to clone. Each call carries the token and the trace of its caller.
#[derive(Clone)]
pub struct Channel {
    instances: Arc<Instances>,
    endpoint: Arc<str>,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A channel to the service.
///
/// # Errors
/// When address, certificates or token are unusable; that nobody answers there is none.
pub fn channel(config: &Config) -> Result<Channel, Error> {
    let authorization = config.token.as_ref().map(|token| {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
        value.set_sensitive(true);
        Ok::<_, http::header::InvalidHeaderValue>(value)
    });
    let authorization = authorization.transpose().map_err(|_| Error::Token)?;
    let instances = Arc::new(Instances::new(endpoint(config)?, config.connect_timeout));
    Ok(Channel { instances, endpoint: config.endpoint.as_str().into(), authorization })
}

/// A single connection without token and trace.
pub(crate) fn plain_channel(config: &Config) -> Result<transport::Channel, Error> {
    Ok(endpoint(config)?.connect_lazy())
}

fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let malformed = |source| Error::Endpoint { endpoint: config.endpoint.clone(), source };
    let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
        .map_err(malformed)?
        .connect_timeout(config.connect_timeout)
        .http2_keep_alive_interval(config.keep_alive_interval)
        .keep_alive_while_idle(true);
    if let Some(tls) = &config.tls {
        endpoint = endpoint.tls_config(tls.load()?).map_err(malformed)?;
    }
    Ok(endpoint)
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always: which instance takes the call is seen when there is one.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let method = request.uri().path().trim_start_matches('/');
        let span = tracing::info_span!(
            "call",
            otel.name = method,
            otel.kind = "client",
            { names::RPC_SYSTEM_NAME } = "grpc",
            { names::RPC_METHOD } = method,
        );
        for (name, value) in telemetry::headers(&span) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value.try_into()) {
                request.headers_mut().insert(name, value);
            }
        }
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let (instances, endpoint) = (self.instances.clone(), self.endpoint.clone());
        let call = async move { call(&instances, &endpoint, request).await };
        Box::pin(call.instrument(span))
    }
}

/// Makes a call of the instance whose turn it is.
async fn call(
    instances: &Instances,
    endpoint: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (instance, mut channel) = instances.next().await.map_err(|why| match why {
        Unreached::Name(error) => Status::unavailable(format!("cannot reach {endpoint}: {error}")),
        Unreached::Instance(error) => unreached(endpoint, error),
    })?;
    let answer = async { channel.ready().await?.call(request).await };
    match answer.await {
        Ok(response) => Ok(response),
        Err(error) => {
            let status = unreached(endpoint, error);
            if status.code() == Code::Unavailable {
                instance.lose().await;
            }
            Err(status)
        }
    }
}

/// A call that was not answered. Where there is no connection, the status says to where and what would
/// mend it: tonic's own says "transport error".
fn unreached(endpoint: &str, error: transport::Error) -> Status {
    let (cause, mend) = cause(&error);
    let peer_left = peer_left(&error);
    let status = Status::from_error(Box::new(error));
    match status.code() {
        Code::Unavailable => Status::unavailable(format!("cannot reach {endpoint}: {cause}{mend}")),
        _ if peer_left => Status::unavailable(format!("{endpoint} closed the connection: {cause}")),
        _ => status,
    }
}

/// Whether an error comes of it that the other side went away under a call: it said goodbye, which is a GOAWAY
/// without an error, or the connection ended. A call that is made while the goodbye is on its way meets either.
/// tonic tells of them as CANCELLED, INTERNAL or UNKNOWN, as if somebody had made a mistake.
fn peer_left(error: &(dyn StdError + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return error.is_canceled() || error.is_closed() || error.is_incomplete_message();
        }
        cause.downcast_ref::<h2::Error>().is_some_and(|error| {
            let without_error = error.reason() == Some(h2::Reason::NO_ERROR);
            error.is_io() || (error.is_go_away() && error.is_remote() && without_error)
        })
    })
}

/// The innermost cause of an error, and how to mend it where that is known.
fn cause(error: &transport::Error) -> (String, &'static str) {
    let mut cause: &(dyn StdError + 'static) = error;
    loop {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return (tls.to_string(), mend(tls));
        }
        // An I/O error's source is its content's; the content itself is asked for by name.
        let content = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        match content.map(|content| content as &(dyn StdError + 'static)).or(cause.source()) {
            Some(next) => cause = next,
            None => return (cause.to_string(), ""),
        }
    }
}

fn mend(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as C;
    let rustls::Error::InvalidCertificate(what) = error else { return "" };
    match what {
        C::UnknownIssuer | C::BadSignature => {
            "; tls.ca must hold the authority that issued the server's certificate"
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "; call the server by a name in its certificate, or set tls.server_name to one"
        }
        C::Expired | C::ExpiredContext { .. } => "; the server needs a new certificate",
        _ => "",
    }
}

/// Deadline of a call, and how it is repeated when the server is away or overloaded.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CallPolicy {
    /// Time for the call with all its attempts; the server is told how much is left.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long it is repeated, from its first failure: as long as a server that is replaced may be away. Zero
    /// repeats nothing.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// Pause before the second attempt; doubled for each one after, with jitter.
    #[serde(with = "humantime_serde")]
    pub first_backoff: Duration,
    /// Longest such pause; a server's own hint may be longer.
    #[serde(with = "humantime_serde")]
    pub max_backoff: Duration,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            patience: Duration::from_secs(30),
            first_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        }
    }
}

impl Validate for CallPolicy {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.timeout.is_zero(), "timeout", "must be longer than zero");
        problems.check(!self.first_backoff.is_zero(), "first_backoff", "must be longer than zero");
        let ordered = self.first_backoff <= self.max_backoff;
        problems.check(ordered, "first_backoff", "must not be longer than max_backoff");
    }
}

/// One attempt at a call.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    deadline: Instant,
}

impl Attempt {
    /// The request for `message`, with what is left of the call's time and, as gRPC specifies for
    /// retries (A6), the number of attempts before.
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.deadline.saturating_duration_since(Instant::now()));
        if self.number > 1 {
            request.metadata_mut().insert("grpc-previous-rpc-attempts", (self.number - 1).into());
        }
        request
    }
}

/// Makes a call under `policy`: repeats it while the server is UNAVAILABLE or RESOURCE_EXHAUSTED, or went away
/// under it, after the pause that the server asks for or a longer one of ours. No attempt begins when the policy's
/// patience or the call's time is over.
///
/// Only for calls that may be done twice: an answer can be lost after the work was done.
///
/// # Errors
/// The status of the last attempt; DEADLINE_EXCEEDED when time is up during one.
pub async fn retry<T, F>(
    policy: &CallPolicy,
    mut call: impl FnMut(Attempt) -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let deadline = Instant::now() + policy.timeout;
    let (mut number, mut failed_at) = (1, None);
    loop {
        let attempt = call(Attempt { number, deadline });
        let Ok(outcome) = tokio::time::timeout_at(deadline, attempt).await else {
            return Err(time_is_up(policy));
        };
        let status = match outcome {
            Ok(response) => return Ok(response),
            // How tonic's channel reports that the time in the request's header has passed.
            Err(status) if status.code() == Code::Cancelled && deadline <= Instant::now() => {
                return Err(time_is_up(policy));
            }
            Err(status) => status,
        };
        let (pause, now) = (pause(policy, number, &status), Instant::now());
        let until = deadline.min(*failed_at.get_or_insert(now) + policy.patience);
        if !is_transient(&status) || now + pause >= until {
            return Err(status);
        }
        tracing::debug!(attempt = number, ?pause, "{status}; trying again");
        tokio::time::sleep(pause).await;
        number += 1;
    }
}

fn time_is_up(policy: &CallPolicy) -> Status {
    let timeout = humantime::format_duration(policy.timeout);
    Status::deadline_exceeded(format!("no answer within {timeout}"))
}

fn is_transient(status: &Status) -> bool {
    // An answer that had begun is read by generated code, which tells of a server that left as tonic does.
    matches!(status.code(), Code::Unavailable | Code::ResourceExhausted) || peer_left(status)
}

/// Exponential, and at random between half and all of it, so that clients which failed together do
/// not come back together; the same spread is put on top of a server's hint.
fn pause(policy: &CallPolicy, attempt: u32, status: &Status) -> Duration {
    let doubled = policy.first_backoff.saturating_mul(1 << (attempt - 1).min(16));
    let backoff = doubled.min(policy.max_backoff).mul_f64(rand::random_range(0.5..=1.0));
    match status.get_details_retry_info().and_then(|info| info.retry_delay) {
        Some(hint) if hint > backoff => hint.mul_f64(rand::random_range(1.0..=1.2)),
        _ => backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::overloaded;
    use std::cell::RefCell;

    /// Answers with these, one an attempt, and tells when each attempt was made.
    async fn run(
        policy: &CallPolicy,
        answers: Vec<Result<u32, Status>>,
    ) -> (Result<u32, Status>, Vec<Duration>) {
        let start = tokio::time::Instant::now();
        let times = RefCell::new(Vec::new());
        let answers = RefCell::new(answers.into_iter());
        let result = retry(policy, |_| {
            times.borrow_mut().push(start.elapsed());
            let answer = answers.borrow_mut().next().expect("no attempt more than expected");
            async { answer }
        })
        .await;
        (result, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_is_asked_again_after_growing_pauses() {
        let away = || Err(Status::unavailable("away"));
        let (result, times) =
            run(&CallPolicy::default(), vec![away(), away(), away(), Ok(1)]).await;
        assert_eq!(result.unwrap(), 1);
        for (pair, first) in times.windows(2).zip([50, 100, 200]) {
            let pause = (pair[1] - pair[0]).as_millis();
            // Between half and all of 100, 200, 400 ms; the timer rounds up by a millisecond.
            assert!((first..=2 * first + 1).contains(&pause), "{times:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_of_the_server_is_honoured() {
        let full = overloaded("full", Duration::from_secs(7));
        let (result, times) = run(&CallPolicy::default(), vec![Err(full), Ok(1)]).await;
        assert_eq!(result.unwrap(), 1);
        assert!(times[1] >= Duration::from_secs(7), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn by_default_a_server_may_be_away_for_half_a_minute() {
        // More than there is time for, with pauses of at least half a second.
        let away = (0..100).map(|_| Err(Status::unavailable("away"))).collect();
        let (result, times) = run(&CallPolicy::default(), away).await;
        assert_eq!(result.unwrap_err().code(), Code::Unavailable);
        // The next pause, a second at most, would have outlasted the patience.
        let last = times.last().unwrap().as_millis();
        // The timer rounds up by a millisecond.
        assert!((29_000..=30_001).contains(&last), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_patience_nothing_is_repeated_and_other_errors_never_are() {
        let plain = CallPolicy { patience: Duration::ZERO, ..CallPolicy::default() };
        let (result, times) = run(&plain, vec![Err(Status::unavailable("away"))]).await;
        assert_eq!((result.unwrap_err().code(), times.len()), (Code::Unavailable, 1));
        let bug = vec![Err(Status::internal("bug"))];
        let (result, times) = run(&CallPolicy::default(), bug).await;
        assert_eq!((result.unwrap_err().code(), times.len()), (Code::Internal, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_begins_when_a_server_is_first_found_away() {
        // It works on the call for longer than it may be away, and is replaced then.
        let policy = CallPolicy { timeout: Duration::from_secs(120), ..CallPolicy::default() };
        let longer = policy.patience * 2;
        let result = retry(&policy, |attempt| async move {
            match attempt.number {
                1 => {
                    tokio::time::sleep(longer).await;
                    Err(Status::unavailable("cut off"))
                }
                number => Ok(number),
            }
        });
        assert_eq!(result.await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_beyond_all_patience_ends_the_call_at_once() {
        let full = overloaded("full", Duration::from_secs(120));
        let (result, times) = run(&CallPolicy::default(), vec![Err(full)]).await;
        assert_eq!((result.unwrap_err().code(), times.len()), (Code::ResourceExhausted, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_ends_at_the_deadline() {
        let hangs = std::future::pending::<Result<u32, Status>>;
        let status = retry(&CallPolicy::default(), |_| hangs()).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        let config = |endpoint: &str| Config {
            endpoint: endpoint.to_owned(),
            tls: None,
            token: Some(Secret::new("secret".to_owned())),
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(1),
            calls: CallPolicy::default(),
        };
        for allowed in ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"] {
            let problems = Problems::of(&config(allowed));
            assert!(problems.is_empty(), "{problems}");
        }
        for refused in ["http://10.0.0.1:1", "https://host:1", "host", "ftp://host"] {
            assert!(!Problems::of(&config(refused)).is_empty(), "{refused}");
        }
    }
}
