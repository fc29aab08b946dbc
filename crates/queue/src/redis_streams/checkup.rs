//! A Redis looked over by who would keep queues in it, before any service does.

use super::probe::{self, Warning};
use super::{Address, rights};
use crate::{Denial, Error};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a Redis says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkup {
    /// Its version; none where it does not say.
    pub version: Option<String>,
    /// Which server and database it is, however it is addressed; none where it does not say.
    pub identity: Option<String>,
    /// What breaks a promise of the queue.
    pub warnings: Vec<Warning>,
    /// How far its clock is ahead of ours, in seconds; negative where it is behind.
    pub clock_ahead_s: f64,
    /// How exactly that is known: the time that asking took.
    pub round_trip: Duration,
}

/// Looks over the Redis at `address` for who uses the queues of these names; nothing is waited for longer
/// than `patience`, and nothing is changed.
///
/// # Errors
/// When the address makes no sense, nobody answers, or it lets nobody in who says what we say.
pub async fn checkup(
    address: &Address,
    queues: &[&str],
    patience: Duration,
) -> Result<Checkup, Error> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(patience))
        .set_response_timeout(Some(patience));
    let client = address.client()?;
    let connecting = client.get_multiplexed_async_connection_with_config(&config).await;
    let mut connection = connecting.map_err(|e| unreached("connecting", e, patience))?;

    let mut forbidden = Vec::new();
    for queue in queues {
        for (right, command) in rights::trials(queue) {
            let answer = ask::<redis::Value>(&mut connection, &command).await;
            let rule = match answer {
                Err(error) if is_away(&error) || Denial::of(&error).is_some() => {
                    return Err(unreached(right, error, patience));
                }
                Err(error) => rights::missing(right, &error),
                Ok(_) => None,
            };
            forbidden.extend(rule.filter(|rule| !forbidden.contains(rule)));
        }
    }
    let info = ask::<String>(&mut connection, &redis::cmd("INFO")).await.unwrap_or_default();
    let mut warnings = probe::warnings(&info);
    warnings.extend(late_sync(&mut connection, &warnings).await);
    if !forbidden.is_empty() {
        warnings.push(Warning::Forbids { rules: forbidden });
    }
    let (clock_ahead_s, round_trip) = clock(&mut connection).await.unwrap_or_default();
    let field = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let database = client.get_connection_info().redis_settings().db();
    Ok(Checkup {
        version: field("redis_version:").map(str::to_owned),
        identity: field("run_id:").map(|run| format!("{run}/{database}")),
        warnings,
        clock_ahead_s,
        round_trip,
    })
}

/// Whether what it answers may not have reached its disk. INFO does not tell.
async fn late_sync(
    connection: &mut MultiplexedConnection,
    warnings: &[Warning],
) -> Option<Warning> {
    if warnings.contains(&Warning::NotDurable) {
        return None;
    }
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendfsync");
    let answer = ask::<Vec<String>>(connection, &command).await.unwrap_or_default();
    match answer.get(1).map(String::as_str) {
        Some("always") => None,
        Some(policy) => Some(Warning::SyncsLate { policy: policy.to_owned() }),
        None => Some(Warning::Unknown { field: "appendfsync" }),
    }
}

/// How far its clock is ahead of ours, and how long asking took.
async fn clock(connection: &mut MultiplexedConnection) -> Option<(f64, Duration)> {
    let asked = SystemTime::now();
    let (seconds, micros) = ask::<(u64, u32)>(connection, &redis::cmd("TIME")).await.ok()?;
    let round_trip = asked.elapsed().ok()?;
    let ours = asked.duration_since(UNIX_EPOCH).ok()? + round_trip / 2;
    let theirs = seconds as f64 + f64::from(micros) / 1e6;
    Some((theirs - ours.as_secs_f64(), round_trip))
}

async fn ask<T: FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
) -> Result<T, RedisError> {
    command.query_async(connection).await
}

fn is_away(error: &RedisError) -> bool {
    error.is_io_error() || error.code() == Some("LOADING")
}

fn unreached(operation: &'static str, source: RedisError, patience: Duration) -> Error {
    match Denial::of(&source) {
        Some(denial) => Error::Denied(denial),
        None if is_away(&source) => Error::Unavailable { patience, source },
        None => Error::Refused { operation, answer: source },
    }
}
