//! The queue of a cluster: Redis Streams, where each step of the protocol is one Lua script.
//!
//! All keys of a queue share the hash slot `{rlaif:<name>}`, so a script is a transaction in a
//! cluster too. Nothing newer than Redis 7.0 is used.

mod address;
mod checkup;
mod connection;
mod probe;
mod rights;
mod scripts;

pub use address::Address;
pub use checkup::{Checkup, checkup};
pub use probe::Warning;
pub use rights::acl_rules;

use crate::store::{Claim, Entry, Handback, InHand, LOST, Standing, Started, Store, Taken};
use crate::store::{DROPPED, Token};
use crate::{
    Attempt, DeadLetter, Death, Depth, Enqueued, Error, Headers, Held, Item, ItemId, Options,
    Outcome, Position, ResultEntry, Worker,
};
use async_trait::async_trait;
use connection::{Connections, Request};
use redis::{FromRedisValue, ScriptInvocation};
use scripts::Scripts;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Payloads in one call of ENQUEUE: a script holds up everybody else.
const ENQUEUE_BYTES: usize = 1 << 20;
/// Results in one call of ACKNOWLEDGE, which reads their payloads.
const ACKNOWLEDGE_RESULTS: usize = 128;
/// Items in one call of what takes many.
const TOGETHER: usize = 256;

/// What WORKERS answers: consumers with the milliseconds that they are silent for, and what they hold.
type RawWorkers = (Vec<(String, u64)>, Vec<(String, String, u32, bool, u64)>);
/// A stream entry as Redis sends it: position, then names and values alternating.
type Raw = (String, Vec<Vec<u8>>);
/// What XREAD and XREADGROUP send: nothing, or the entries of our one stream.
type RawStreams = Option<Vec<(String, Vec<Raw>)>>;

pub(crate) struct RedisStreams {
    connections: Connections,
    scripts: Arc<Scripts>,
    options: Arc<Options>,
}

impl RedisStreams {
    pub async fn connect(
        name: &str,
        address: &Address,
        options: Arc<Options>,
    ) -> Result<Self, Error> {
        let scripts = Arc::new(Scripts::for_queue(name)?);
        let connections = Connections::open(address, scripts.clone(), options.patience)?;
        connections.open_queue().await?;
        Ok(Self { connections, scripts, options })
    }

    fn lease_ms(&self) -> u64 {
        self.options.lease.as_millis() as u64
    }

    async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        invocation: ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.connections.ask(operation, &Request::Script(invocation)).await
    }

    async fn enqueue_chunk(&self, items: &[Item]) -> Result<Vec<Enqueued>, Error> {
        let mut call = self.scripts.enqueue();
        call.arg(self.options.max_outstanding);
        for item in items {
            call.arg(item.id.as_str()).arg(to_json(&item.headers)).arg(&item.payload);
        }
        let added: Vec<bool> = self.run("ENQUEUE", call).await?;
        let answer = |added| if added { Enqueued::Added } else { Enqueued::Duplicate };
        Ok(added.into_iter().map(answer).collect())
    }
}

#[async_trait]
impl Store for RedisStreams {
    fn system(&self) -> &'static str {
        "redis"
    }

    async fn enqueue(&self, items: &[Item]) -> Result<Vec<Enqueued>, Error> {
        let mut answers = Vec::with_capacity(items.len());
        let mut rest = items;
        while !rest.is_empty() {
            let (chunk, later) = rest.split_at(enqueue_together(rest));
            match self.enqueue_chunk(chunk).await {
                Ok(more) => answers.extend(more),
                // What was taken before counts; for the rest it is as good as full.
                Err(Error::Unwritable { answer, .. }) => {
                    tracing::warn!(error = %answer, "redis takes no items");
                    break;
                }
                Err(error) => return Err(error),
            }
            rest = later;
            if answers.len() + rest.len() < items.len() {
                break; // The queue is full.
            }
        }
        Ok(answers)
    }

    async fn read(&self, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, Error> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(connection::GROUP).arg(consumer).arg("COUNT").arg(max);
        connection::block(&mut command, wait);
        command.arg("STREAMS").arg(&self.scripts.keys().work).arg(">");
        let streams: RawStreams = self.connections.ask_blocking("XREADGROUP", command).await?;
        entries_of(streams).map(entry).collect()
    }

    async fn take(&self, consumer: &str) -> Result<Option<Taken>, Error> {
        let mut call = self.scripts.take();
        call.arg(consumer).arg(self.lease_ms()).arg(LOST);
        let taken: Option<(Raw, bool, bool)> = self.run("TAKE", call).await?;
        let taken =
            taken.map(|(raw, suspect, lost)| Ok(Taken { entry: entry(raw)?, suspect, lost }));
        taken.transpose()
    }

    async fn start(
        &self,
        consumer: &str,
        position: Position,
        nonce: u64,
        trace: &str,
    ) -> Result<Started, Error> {
        let mut call = self.scripts.start();
        call.arg(consumer).arg(position.to_string()).arg(format!("{nonce:x}"));
        call.arg(self.options.max_starts).arg(trace);
        let (answer, before): (String, String) = self.run("START", call).await?;
        match answer.as_str() {
            "dead" => Ok(Started::Dead),
            "fenced" => Ok(Started::Fenced),
            "gone" => Ok(Started::Gone),
            token => {
                let before = (!before.is_empty()).then_some(before);
                Ok(Started::Token { token: token.parse()?, before })
            }
        }
    }

    async fn heartbeat(&self, consumer: &str, held: &[InHand]) -> Result<Vec<Standing>, Error> {
        let mut answers = Vec::with_capacity(held.len());
        for held in held.chunks(TOGETHER) {
            let mut call = self.scripts.heartbeat();
            call.arg(consumer);
            for held in held {
                call.arg(held.entry.to_string()).arg(token_or_empty(held.token));
            }
            answers.extend(standings(self.run("HEARTBEAT", call).await?)?);
        }
        Ok(answers)
    }

    async fn commit(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<Standing, Error> {
        let mut call = self.scripts.commit();
        claim_args(&mut call, claim);
        call.arg(item.as_str()).arg(to_json(headers)).arg(payload);
        standing(&self.run::<String>("COMMIT", call).await?)
    }

    async fn fail(&self, claim: Claim<'_>, reason: &str) -> Result<Standing, Error> {
        let rest_idle_ms = self.lease_ms() - self.options.retry_delay.as_millis() as u64;
        let mut call = self.scripts.fail();
        claim_args(&mut call, claim);
        call.arg(reason).arg(self.options.max_starts).arg(rest_idle_ms);
        standing(&self.run::<String>("FAIL", call).await?)
    }

    async fn release(&self, consumer: &str, given: &[Handback]) -> Result<Vec<Standing>, Error> {
        let mut answers = Vec::with_capacity(given.len());
        for given in given.chunks(TOGETHER) {
            let mut call = self.scripts.release();
            call.arg(consumer).arg(DROPPED);
            for Handback { held, returns_start, rests } in given {
                call.arg(held.entry.to_string()).arg(token_or_empty(held.token));
                call.arg(returns_start).arg(rests);
            }
            answers.extend(standings(self.run("RELEASE", call).await?)?);
        }
        Ok(answers)
    }

    async fn progress(
        &self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Result<bool, Error> {
        let mut call = self.scripts.progress();
        claim_args(&mut call, claim);
        call.arg(item.as_str()).arg(to_json(headers)).arg(payload);
        call.arg(self.options.max_unread_progress);
        self.run("PROGRESS", call).await
    }

    async fn results(
        &self,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<ResultEntry>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("COUNT").arg(max);
            let rest = deadline.saturating_duration_since(Instant::now());
            connection::block(&mut command, rest.min(connection::MAX_BLOCK));
            command.arg("STREAMS").arg(&self.scripts.keys().results).arg(after.to_string());
            let streams: RawStreams = self.connections.ask_blocking("XREAD", command).await?;
            let results: Vec<_> = entries_of(streams).map(result).collect::<Result<_, _>>()?;
            if !results.is_empty() || Instant::now() >= deadline {
                return Ok(results);
            }
        }
    }

    async fn acknowledge(&self, upto: Position) -> Result<(), Error> {
        loop {
            let mut call = self.scripts.acknowledge();
            call.arg(upto.to_string()).arg(ACKNOWLEDGE_RESULTS);
            if self.run::<usize>("ACKNOWLEDGE", call).await? < ACKNOWLEDGE_RESULTS {
                return Ok(());
            }
        }
    }

    /// XLEN, because the group's lag is unknown to Redis once an undelivered entry was deleted.
    async fn outstanding(&self) -> Result<u64, Error> {
        let mut command = redis::cmd("XLEN");
        command.arg(&self.scripts.keys().work);
        self.connections.ask("XLEN", &Request::Command(command)).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let mut call = self.scripts.depth();
        call.arg(self.options.max_outstanding);
        let (outstanding, oldest_ms, dead_letters, is_full): (u64, i64, u64, bool) =
            self.run("DEPTH", call).await?;
        let oldest_age = u64::try_from(oldest_ms).ok().map(Duration::from_millis);
        Ok(Depth { outstanding, oldest_age, dead_letters, is_full })
    }

    async fn workers(&self, max: usize) -> Result<Vec<Worker>, Error> {
        let mut call = self.scripts.workers();
        call.arg(max);
        let (consumers, held): RawWorkers = self.run("WORKERS", call).await?;
        let mut workers = Vec::new();
        for (consumer, idle_ms) in consumers {
            Worker::among(&mut workers, &consumer, Duration::from_millis(idle_ms));
        }
        for (consumer, item, starts, is_started, idle_ms) in held {
            let silent = Duration::from_millis(idle_ms);
            let worker = Worker::among(&mut workers, &consumer, silent);
            // A heartbeat renews what is held, which Redis does not count as being heard of.
            worker.silent = worker.silent.min(silent);
            worker.held.push(Held { item: item.into(), starts, is_started, silent });
        }
        Ok(workers)
    }

    async fn dead_letters(&self, after: Position, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.scripts.keys().dead).arg(format!("({after}")).arg("+");
        command.arg("COUNT").arg(max);
        let letters: Vec<Raw> = self.connections.ask("XRANGE", &Request::Command(command)).await?;
        letters.into_iter().map(dead_letter).collect()
    }

    async fn requeue(&self, ids: &[ItemId]) -> Result<usize, Error> {
        let mut requeued = 0;
        for ids in ids.chunks(TOGETHER) {
            requeued += self.run::<usize>("REQUEUE", with_ids(self.scripts.requeue(), ids)).await?;
        }
        Ok(requeued)
    }

    async fn cancel(&self, ids: &[ItemId]) -> Result<usize, Error> {
        let mut cancelled = 0;
        for ids in ids.chunks(TOGETHER) {
            cancelled += self.run::<usize>("CANCEL", with_ids(self.scripts.cancel(), ids)).await?;
        }
        Ok(cancelled)
    }

    async fn discard(&self, ids: &[ItemId]) -> Result<usize, Error> {
        let mut discarded = 0;
        for ids in ids.chunks(TOGETHER) {
            discarded +=
                self.run::<usize>("DISCARD", with_ids(self.scripts.discard(), ids)).await?;
        }
        Ok(discarded)
    }

    async fn leave(&self, consumer: &str) -> Result<(), Error> {
        let mut call = self.scripts.leave();
        call.arg(consumer);
        self.run("LEAVE", call).await
    }

    async fn probe(&self) -> Result<Vec<Warning>, Error> {
        let info: String =
            self.connections.ask("INFO", &Request::Command(redis::cmd("INFO"))).await?;
        Ok(probe::warnings(&info))
    }
}

/// How many items from the front go into one call.
fn enqueue_together(items: &[Item]) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take(TOGETHER).take_while(|item| {
        bytes += item.payload.len();
        bytes <= ENQUEUE_BYTES
    });
    fits.count().max(1)
}

fn with_ids<'a>(mut call: ScriptInvocation<'a>, ids: &[ItemId]) -> ScriptInvocation<'a> {
    for id in ids {
        call.arg(id.as_str());
    }
    call
}

fn claim_args(call: &mut ScriptInvocation<'_>, claim: Claim<'_>) {
    call.arg(claim.consumer).arg(claim.entry.to_string()).arg(claim.token.to_string());
}

fn token_or_empty(token: Option<Token>) -> String {
    token.map(|token| token.to_string()).unwrap_or_default()
}

fn to_json(headers: &Headers) -> String {
    serde_json::to_string(headers).expect("a map of strings is JSON")
}

fn standing(answer: &str) -> Result<Standing, Error> {
    match answer {
        "holds" => Ok(Standing::Holds),
        "fenced" => Ok(Standing::Fenced),
        "gone" => Ok(Standing::Gone),
        other => Err(Error::Unreadable(format!("answer {other:?}"))),
    }
}

fn standings(answers: Vec<String>) -> Result<Vec<Standing>, Error> {
    answers.iter().map(|answer| standing(answer)).collect()
}

fn entries_of(streams: RawStreams) -> impl Iterator<Item = Raw> {
    streams.into_iter().flatten().flat_map(|(_, entries)| entries)
}

/// The values of a raw entry by their one-letter names.
struct Fields(Vec<Vec<u8>>);

impl Fields {
    fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let mut pairs = self.0.chunks_exact_mut(2);
        let found = pairs.find(|pair| pair[0] == name.as_bytes());
        let [_, value] = found.ok_or_else(|| Error::Unreadable(format!("no field {name}")))? else {
            return Err(Error::Unreadable(format!("field {name} without a value")));
        };
        Ok(std::mem::take(value))
    }

    fn text(&mut self, name: &str) -> Result<String, Error> {
        let text = String::from_utf8(self.bytes(name)?);
        text.map_err(|_| Error::Unreadable(format!("field {name} is not UTF-8")))
    }

    fn headers(&mut self) -> Result<Headers, Error> {
        let headers = serde_json::from_slice(&self.bytes("h")?);
        headers.map_err(|e| Error::Unreadable(format!("headers: {e}")))
    }

    fn death(&mut self) -> Result<Death, Error> {
        let attempts: Result<Vec<Attempt>, _> =
            self.text("a")?.lines().map(serde_json::from_str).collect();
        Ok(Death::after(attempts.map_err(|e| Error::Unreadable(format!("attempts: {e}")))?))
    }

    fn item(&mut self) -> Result<Item, Error> {
        let (id, headers) = (self.text("i")?.into(), self.headers()?);
        Ok(Item { id, headers, payload: self.bytes("p")? })
    }
}

fn entry((position, fields): Raw) -> Result<Entry, Error> {
    Ok(Entry { position: position.parse()?, item: Fields(fields).item()? })
}

fn dead_letter((position, fields): Raw) -> Result<DeadLetter, Error> {
    let mut fields = Fields(fields);
    let death = fields.death()?;
    Ok(DeadLetter { position: position.parse()?, item: fields.item()?, death })
}

fn result((position, fields): Raw) -> Result<ResultEntry, Error> {
    let mut fields = Fields(fields);
    let outcome = match fields.text("k")?.as_str() {
        "done" => {
            let start = fields.text("n")?;
            let attempts = start.parse();
            let attempts =
                attempts.map_err(|_| Error::Unreadable(format!("start number {start:?}")))?;
            Outcome::Done { payload: fields.bytes("p")?, attempts }
        }
        "dead" => Outcome::Dead(fields.death()?),
        "progress" => Outcome::Progress(fields.bytes("p")?),
        other => return Err(Error::Unreadable(format!("result of kind {other:?}"))),
    };
    let (item, headers) = (fields.text("i")?.into(), fields.headers()?);
    Ok(ResultEntry { position: position.parse()?, item, headers, outcome })
}
