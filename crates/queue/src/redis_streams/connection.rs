//! Connections that survive a restart of Redis: one for commands, and others for blocking reads,
//! which would hold up what is sent behind them.

use super::Address;
use super::scripts::Scripts;
use crate::{Denial, Error};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation,
    ServerErrorKind, Value,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The consumer group of the work stream.
pub(super) const GROUP: &str = "workers";
/// Longest time that one blocking read waits in Redis.
pub(super) const MAX_BLOCK: Duration = Duration::from_secs(2);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Long enough for a stall of the disk under `appendfsync always`; repeating a step is safe.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(20);
const SLOWEST_RETRY: Duration = Duration::from_millis(500);

pub(super) enum Request<'a> {
    Command(Cmd),
    Script(ScriptInvocation<'a>),
}

impl Request<'_> {
    async fn send(&self, connection: &mut ConnectionManager) -> RedisResult<Value> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            // Loads the script again if Redis was restarted.
            Self::Script(call) => call.invoke_async(connection).await,
        }
    }
}

pub(super) struct Connections {
    client: Client,
    commands: ConnectionManager,
    /// Blocking connections that nobody reads from now: at most as many as ever read at once.
    idle: Mutex<Vec<ConnectionManager>>,
    scripts: Arc<Scripts>,
    patience: Duration,
}

impl Connections {
    /// Opens no socket yet.
    pub fn open(
        address: &Address,
        scripts: Arc<Scripts>,
        patience: Duration,
    ) -> Result<Self, Error> {
        let client = address.client()?;
        let commands = manager(&client, RESPONSE_TIMEOUT)?;
        Ok(Self { client, commands, idle: Mutex::default(), scripts, patience })
    }

    /// Sends a request until it is answered, or `patience` is over.
    pub async fn ask<T: FromRedisValue>(
        &self,
        operation: &'static str,
        request: &Request<'_>,
    ) -> Result<T, Error> {
        self.insist(operation, request, &mut self.commands.clone()).await
    }

    /// Like [`ask`](Self::ask) on a connection that waits; one whose caller left is closed, not
    /// used again.
    pub async fn ask_blocking<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: Cmd,
    ) -> Result<T, Error> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => manager(&self.client, MAX_BLOCK + RESPONSE_TIMEOUT)?,
        };
        let answer = self.insist(operation, &Request::Command(command), &mut connection).await;
        self.idle().push(connection);
        answer
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<ConnectionManager>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the work stream and its consumer group where they are missing.
    pub async fn open_queue(&self) -> Result<(), Error> {
        self.ask("OPEN", &Request::Script(self.scripts.open())).await
    }

    async fn insist<T: FromRedisValue>(
        &self,
        operation: &'static str,
        request: &Request<'_>,
        connection: &mut ConnectionManager,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.patience;
        let mut pause = FIRST_RETRY;
        loop {
            let answer = timeout_at(deadline, request.send(connection)).await;
            let error = match answer.unwrap_or_else(|_| Err(timed_out())) {
                Ok(value) => match T::from_redis_value(value) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => return Err(Error::Unreadable(format!("{operation}: {error}"))),
                },
                Err(error) => error,
            };
            if error.code() == Some("NOGROUP") {
                // The data was wiped under us. Boxed because it asks, too.
                Box::pin(self.open_queue()).await?;
            } else if let Some(denial) = Denial::of(&error) {
                return Err(Error::Denied(denial));
            } else if !passes_by_itself(&error) {
                return Err(Error::Refused { operation, answer: error });
            }
            if Instant::now() + pause >= deadline {
                let patience = self.patience;
                return Err(match takes_no_writes(&error) {
                    true => Error::Unwritable { patience, answer: error },
                    false => Error::Unavailable { patience, source: error },
                });
            }
            tracing::debug!(operation, %error, "asking redis again");
            sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_RETRY);
        }
    }
}

/// Makes a read wait; without, it answers at once. (To Redis, BLOCK 0 is forever.)
pub(super) fn block(command: &mut Cmd, wait: Duration) {
    let wait_ms = wait.as_millis() as u64;
    if wait_ms > 0 {
        command.arg("BLOCK").arg(wait_ms);
    }
}

fn manager(client: &Client, response_timeout: Duration) -> Result<ConnectionManager, Error> {
    // The library's own default of half a second would break blocking reads.
    let config = ConnectionManagerConfig::new()
        .set_response_timeout(Some(response_timeout))
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_min_delay(FIRST_RETRY)
        .set_max_delay(SLOWEST_RETRY)
        .set_number_of_retries(1);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
        .map_err(|e| Error::Configuration(e.to_string()))
}

fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Redis is away, starting, or handing over, or writes nothing for now.
fn passes_by_itself(error: &RedisError) -> bool {
    error.is_io_error()
        || takes_no_writes(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::NoScript
            )
        )
}

/// Redis is there and writes nothing: its memory is full, its disk is, or it lacks replicas.
fn takes_no_writes(error: &RedisError) -> bool {
    matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS"))
}
