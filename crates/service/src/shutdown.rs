//! How a service ends: a signal cancels a token, every task is waited for within a grace period, and
//! a second signal ends the process at once.
//!
//! The first task that fails or panics also cancels the token: a service that has lost a part of
//! itself is restarted whole, not kept half alive.

use crate::config::{Problems, Validate};
use crate::server;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a service ends.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long tasks may take to end after a signal.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.grace.is_zero(), "grace", "must be longer than zero");
    }
}

impl Config {
    /// Checks it beside the server that ends within it, and what may take up to `afterwards` when the server has.
    pub fn validate_beside(
        &self,
        server: &server::Config,
        afterwards: Duration,
        problems: &mut Problems,
    ) {
        problems.section("shutdown", self);
        let drain = server.drain_delay.saturating_add(server.drain_timeout);
        let takes = drain.saturating_add(afterwards);
        if self.grace <= takes {
            let takes = humantime::format_duration(takes);
            let what = format!(
                "must be longer than {takes}, which server.drain_delay, server.drain_timeout and what ends after \
                 the server may take together: raise it or lower those"
            );
            problems.add("shutdown.grace", what);
        }
    }
}

/// Why a service did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task ended with an error.
    #[error("{task} failed: {source}")]
    Failed {
        /// The task's name.
        task: &'static str,
        /// Its error.
        source: BoxError,
    },
    /// A task panicked.
    #[error("{task} panicked: {message}")]
    Panicked {
        /// The task's name.
        task: &'static str,
        /// What it said.
        message: String,
    },
    /// Tasks were still running when the grace period ended; they were aborted.
    #[error("still running {} after shutdown began: {}; raise shutdown.grace (RLAIF__SHUTDOWN__GRACE) if that is too short", humantime::format_duration(*.grace), .tasks.join(", "))]
    Unfinished {
        /// Names of the tasks.
        tasks: Vec<&'static str>,
        /// How long they were given.
        grace: Duration,
    },
}

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once, with the
/// shell's status for it (128 and the signal's number).
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await.0;
        tracing::info!("{name}: shutting down; send it again to end at once");
        cancelled.cancel();
        let (name, number) = next(&mut terminate, &mut interrupt).await;
        tracing::warn!("{name} again: ending at once");
        std::process::exit(128 + number);
    });
    Ok(token)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
    }
}

/// The tasks of a service, by name.
#[derive(Debug)]
pub struct Tasks {
    shutdown: CancellationToken,
    grace: Duration,
    running: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet. They share `shutdown` and are given `grace` to end once it is cancelled.
    pub fn new(shutdown: CancellationToken, grace: Duration) -> Self {
        Self { shutdown, grace, running: JoinSet::new(), names: HashMap::new() }
    }

    /// The token that tells tasks to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task.
    pub fn spawn<E>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) where
        E: Into<BoxError> + 'static,
    {
        let handle = self.running.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name);
    }

    /// Waits until every task has ended, or until the grace period after the shutdown is over.
    ///
    /// # Errors
    /// The first failure, panic, or the names of tasks that did not end in time.
    pub async fn join(mut self) -> Result<(), Error> {
        let (shutdown, grace) = (self.shutdown.clone(), self.grace);
        let mut grace_over = std::pin::pin!(async move {
            shutdown.cancelled().await;
            tokio::time::sleep(grace).await;
        });
        let mut failure = None;
        loop {
            tokio::select! {
                ended = self.running.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    if let Err(error) = self.outcome(ended) {
                        tracing::error!("{error}");
                        self.shutdown.cancel();
                        failure.get_or_insert(error);
                    }
                }
                () = &mut grace_over => {
                    let tasks = self.names.into_values().collect();
                    failure.get_or_insert(Error::Unfinished { tasks, grace });
                    break;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn outcome(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
    ) -> Result<(), Error> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let task = self.names.remove(&id).unwrap_or("a task");
        match ended {
            Ok((_, result)) => result.map_err(|source| Error::Failed { task, source }),
            Err(error) => Err(Error::Panicked { task, message: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::io;

    fn tasks(grace: Duration) -> Tasks {
        Tasks::new(CancellationToken::new(), grace)
    }

    #[tokio::test]
    async fn tasks_end_when_the_token_is_cancelled() {
        let mut tasks = tasks(Duration::from_secs(60));
        for name in ["server", "consumer"] {
            let shutdown = tasks.shutdown();
            tasks.spawn::<io::Error>(name, async move {
                shutdown.cancelled().await;
                Ok(())
            });
        }
        tasks.shutdown().cancel();
        tasks.join().await.unwrap();
    }

    #[tokio::test]
    async fn one_failure_ends_all_and_is_the_error() {
        let mut tasks = tasks(Duration::from_secs(60));
        let shutdown = tasks.shutdown();
        tasks.spawn::<io::Error>("server", async move {
            shutdown.cancelled().await;
            Ok(())
        });
        tasks.spawn("consumer", async { Err(io::Error::other("redis is gone")) });
        let error = tasks.join().await.unwrap_err().to_string();
        assert_eq!(error, "consumer failed: redis is gone");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_a_name() {
        let mut tasks = tasks(Duration::from_secs(60));
        tasks.spawn::<io::Error>("consumer", async { panic!("index out of range") });
        let error = tasks.join().await.unwrap_err().to_string();
        assert!(error.contains("consumer panicked") && error.contains("index out"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_named_when_the_grace_period_ends() {
        let mut tasks = tasks(Duration::from_secs(5));
        tasks.spawn::<io::Error>("engine", pending());
        tasks.shutdown().cancel();
        let error = tasks.join().await.unwrap_err().to_string();
        assert!(error.contains("engine") && error.contains("5s"), "{error}");
    }
}
