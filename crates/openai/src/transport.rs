//! One request and its answer over HTTP, bounded in time and size.

use crate::endpoint::{Endpoint, is_loopback};
use crate::error::{Error, Failure, Phase};
use crate::key::Secret;
use crate::refusal::Refusal;
use crate::retry::retry_after;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Response, Url};
use std::error::Error as StdError;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// How much of a refusal is read; the rest can only be noise.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
const USER_AGENT: &str = concat!("rlaif/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one address.
#[derive(Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    max_bytes: usize,
}

/// An answer of a status that means success.
#[derive(Debug)]
pub(crate) struct Answer {
    pub body: Vec<u8>,
    pub request_id: Option<String>,
    pub latency: Duration,
}

impl Transport {
    /// For a valid endpoint.
    pub(crate) fn new(endpoint: &Endpoint, key: Option<&Secret>) -> Result<Self, Error> {
        let url = Url::parse(&endpoint.url()).map_err(|e| Error::Setup(e.to_string()))?;
        Ok(Self {
            http: http_client(endpoint, &url)?,
            url,
            authorization: key.and_then(Secret::header),
            timeout: endpoint.timeout,
            max_bytes: endpoint.max_response_bytes,
        })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends `body` and waits for its answer, at most until `deadline`.
    pub(crate) async fn send(&self, body: &[u8], deadline: Instant) -> Result<Answer, Failure> {
        let began = Instant::now();
        let until = deadline.min(began + self.timeout);
        let mut request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = timeout_at(until, request.body(body.to_vec()).send())
            .await
            .map_err(|_| Failure::TimedOut(Phase::Answer))?
            .map_err(|e| unsent(&e))?;
        if !response.status().is_success() {
            return Err(refused(&mut response, until).await);
        }
        let body = timeout_at(until, read(&mut response, self.max_bytes))
            .await
            .map_err(|_| Failure::TimedOut(Phase::Body))??;
        let request_id = request_id(response.headers());
        Ok(Answer { body, request_id, latency: began.elapsed() })
    }
}

fn http_client(endpoint: &Endpoint, url: &Url) -> Result<reqwest::Client, Error> {
    // rustls asks for one provider per process. An error means that somebody chose before us.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut http = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(endpoint.connect_timeout)
        // The key goes to the address that it was given for, and to no other.
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(url) {
        // No proxy reaches this machine's own addresses.
        http = http.no_proxy();
    }
    if let Some(path) = &endpoint.ca {
        http = http.tls_certs_only(authorities(path)?);
    } else if url.scheme() == "http" {
        // Plain HTTP works where the system has no certificates.
        http = http.tls_certs_only([]);
    }
    http.build().map_err(|e| match &endpoint.ca {
        Some(path) => Error::Certificate { path: path.clone(), reason: cause(&e) },
        None => Error::Setup(cause(&e)),
    })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    let malformed = |reason: String| Error::Certificate { path: path.to_owned(), reason };
    let pem = std::fs::read(path)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(|e| malformed(cause(&e)))?;
    if authorities.is_empty() {
        return Err(malformed("there is no CERTIFICATE section".to_owned()));
    }
    Ok(authorities)
}

async fn read(response: &mut Response, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Failure::Broken(cause(&e)))? {
        if body.len() + chunk.len() > max_bytes {
            return Err(Failure::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What the server says, as far as it can be read: the status counts in any case.
async fn refused(response: &mut Response, until: Instant) -> Failure {
    let mut body = Vec::new();
    while body.len() < MAX_REFUSAL_BYTES
        && let Ok(Ok(Some(chunk))) = timeout_at(until, response.chunk()).await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(MAX_REFUSAL_BYTES);
    let headers = response.headers();
    let Refusal { mut message, code, .. } = Refusal::from_body(&body);
    if let Some(location) = text(headers, LOCATION.as_str()) {
        message = format!("it points to {location}");
    }
    if let Some(id) = request_id(headers) {
        message = format!("{message} (request {id})");
    }
    let wait = text(headers, RETRY_AFTER.as_str());
    Failure::Status {
        status: response.status().as_u16(),
        message,
        code,
        retry_after: wait.and_then(|header| retry_after(header, SystemTime::now())),
    }
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    text(headers, "x-request-id").map(str::to_owned)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Why no head of an answer came.
fn unsent(error: &reqwest::Error) -> Failure {
    if causes(error).any(|cause| cause.is::<rustls::Error>()) {
        return Failure::Tls(cause(error));
    }
    match (error.is_connect(), error.is_timeout()) {
        (true, true) => Failure::TimedOut(Phase::Connecting),
        (true, false) => Failure::Unreachable(cause(error)),
        _ => Failure::Broken(cause(error)),
    }
}

/// The innermost cause, in words. The outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(String::new, |cause| cause.to_string())
}

fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let first: &'a (dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |error: &&'a (dyn StdError + 'static)| {
        let error = *error;
        // An I/O error's source is its content's; the content itself is asked for by name.
        let content = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        content.map(|content| content as &(dyn StdError + 'static)).or(error.source())
    })
}
