//! Calls: as many at once and as often as allowed, each repeated until it is answered, fails for good
//! or runs out of time.

use crate::endpoint::Endpoint;
use crate::error::{Error, FailedCall, Failure, GivenUp};
use crate::key::{Key, Secret};
use crate::pace::Pace;
use crate::reply::{Completion, Lost, NextToken, Provenance, Reply, Usage};
use crate::request::{Generation, Prompt, Request};
use crate::retry::backoff;
use crate::transport::Transport;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A client of one endpoint. Clones are cheap and share its bounds. Dropping a call's future ends
/// the call: its connection is closed, and its place is free.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    key: Option<Secret>,
    transport: Transport,
    slots: Semaphore,
    pace: Pace,
}

impl Client {
    /// A client of `endpoint`; nothing is sent yet.
    ///
    /// # Errors
    /// When settings are wrong, or key or certificates cannot be read.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let problems = endpoint.validate();
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let key = endpoint.api_key.as_ref().map(Key::read).transpose()?;
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(&endpoint, key.as_ref())?,
            slots: Semaphore::new(endpoint.max_concurrency.min(Semaphore::MAX_PERMITS)),
            pace: Pace::new(endpoint.requests_per_minute, endpoint.tokens_per_minute),
            key,
            endpoint,
        })))
    }

    /// Its settings.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The most likely next tokens behind a prompt, with their log-probabilities.
    ///
    /// # Errors
    /// When it cannot be asked or is not answered; never a guess in place of a number.
    pub async fn next_token(&self, prompt: &Prompt) -> Result<NextToken, Error> {
        let request = Request::next_token(self.endpoint(), prompt)?;
        let (candidates, provenance) = self.ask(&request, Reply::candidates).await?;
        Ok(NextToken { candidates, provenance })
    }

    /// A text behind a prompt.
    ///
    /// # Errors
    /// When it cannot be asked or is not answered.
    pub async fn generate(
        &self,
        prompt: &Prompt,
        options: &Generation,
    ) -> Result<Completion, Error> {
        let request = Request::generation(self.endpoint(), prompt, options)?;
        let begun = match prompt {
            Prompt::Chat { begun, .. } => begun,
            Prompt::Text(_) => "",
        };
        let ((text, finish), provenance) = self.ask(&request, |reply| reply.text(begun)).await?;
        Ok(Completion { text, finish, provenance })
    }

    /// Sends the request until an answer to it can be read.
    async fn ask<T>(
        &self,
        request: &Request,
        read: impl Fn(&mut Reply) -> Result<T, Failure>,
    ) -> Result<(T, Provenance), Error> {
        let _slot = self.0.slots.acquire().await.expect("the semaphore is never closed");
        self.0.pace.turn(request.tokens()).await;
        let began = Instant::now();
        let deadline = began + self.0.endpoint.deadline;
        let (mut attempts, mut lost) = (0, Lost::default());
        loop {
            attempts += 1;
            let failure = match self.attempt(request, &read, deadline).await {
                Ok((value, provenance)) => {
                    return Ok((value, Provenance { attempts, lost, ..provenance }));
                }
                Err((failure, took)) => {
                    lost += took;
                    failure.presentable(self.0.key.as_ref())
                }
            };
            let tokens = request.tokens();
            if let Err(given_up) = self.pause(&failure, attempts, deadline, tokens).await {
                let url = self.0.transport.url().to_string();
                let elapsed = began.elapsed();
                let call = FailedCall { url, attempts, lost, elapsed, failure, given_up };
                return Err(Error::Failed(Box::new(call)));
            }
        }
    }

    /// # Errors
    /// When there is no answer, with what that took.
    async fn attempt<T>(
        &self,
        request: &Request,
        read: impl Fn(&mut Reply) -> Result<T, Failure>,
        deadline: Instant,
    ) -> Result<(T, Provenance), (Failure, Lost)> {
        let unread = |failure: Failure| match failure.may_be_charged() {
            true => (failure, request.lost(None)),
            false => (failure, Lost::default()),
        };
        let answer = self.0.transport.send(&request.body, deadline).await.map_err(unread)?;
        let mut reply = Reply::parse(&answer.body).map_err(unread)?;
        let usage = reply.usage();
        if let Some(used) = usage.as_ref().and_then(Usage::total) {
            self.0.pace.correct(request.tokens(), used);
        }
        let value = read(&mut reply).map_err(|failure| (failure, request.lost(usage)))?;
        let provenance = Provenance {
            model: reply.model,
            system_fingerprint: reply.system_fingerprint,
            request_id: answer.request_id.or(reply.id),
            usage,
            latency: answer.latency,
            attempts: 1,
            lost: Lost::default(),
        };
        Ok((value, provenance))
    }

    /// Waits for the next attempt, unless there is to be none.
    async fn pause(
        &self,
        failure: &Failure,
        attempts: u32,
        deadline: Instant,
        tokens: u64,
    ) -> Result<(), GivenUp> {
        let Endpoint { max_attempts, first_backoff, max_backoff, .. } = self.0.endpoint;
        if !failure.is_transient() {
            return Err(GivenUp::Final);
        }
        if attempts >= max_attempts {
            return Err(GivenUp::Attempts);
        }
        let jitter = backoff(attempts, first_backoff, max_backoff, rand::random());
        let wait = failure.retry_after().unwrap_or_default().saturating_add(jitter);
        let next = Instant::now().checked_add(wait).filter(|next| *next < deadline);
        let next = next.ok_or(GivenUp::Deadline)?;
        let url = self.0.transport.url().as_str();
        tracing::warn!(url, attempts, ?wait, "asking again: {failure}");
        let turn = async {
            sleep_until(next).await;
            self.0.pace.turn(tokens).await;
        };
        timeout_at(deadline, turn).await.map_err(|_| GivenUp::Deadline)
    }
}
