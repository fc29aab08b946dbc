//! What the queues hold, seen from outside: through the keys that `common.lua` of the queue describes.

use redis::{Connection, Value};
use rlaif_job::WorkerKind;
use rlaif_testkit::RedisServer;
use std::collections::HashMap;

/// A look at the queues. A Redis that was killed needs a new one.
pub struct Eye(Connection);

/// An item in a worker's hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its queue.
    pub queue: WorkerKind,
    /// Its place in the queue.
    pub entry: String,
    /// Its id.
    pub item: String,
    /// Its worker has taken a token; until then a death costs it nothing.
    pub is_started: bool,
    /// The worker that has it.
    pub worker: String,
    /// What the queue calls that worker's life.
    consumer: String,
}

type Pending = (String, String, u64, u64);
type Entry = (String, Vec<Vec<u8>>);
type Info = HashMap<String, Value>;

fn key(queue: WorkerKind, name: &str) -> String {
    format!("{{rlaif:{}}}:{name}", queue.queue())
}

impl Eye {
    /// Looks at the queues in this Redis.
    pub fn on(redis: &RedisServer) -> Self {
        Self(redis.connection())
    }

    /// What a worker has in hand; workers take one item at a time.
    pub fn in_hand(&mut self, queue: WorkerKind, worker: &str) -> Option<Held> {
        let mut pending = redis::cmd("XPENDING");
        // No more are pending than there are workers, and leases of former ones.
        pending.arg(key(queue, "work")).arg("workers").arg("-").arg("+").arg(1000);
        let pending: Vec<Pending> = pending.query(&mut self.0).unwrap();
        let is_ours = |(_, consumer, ..): &Pending| {
            consumer.strip_prefix(worker).is_some_and(|life| life.starts_with('.'))
        };
        let (entry, consumer, ..) = pending.into_iter().find(is_ours)?;
        let mut started = redis::cmd("HEXISTS");
        let started = started.arg(key(queue, "tokens")).arg(&entry);
        let is_started = started.query(&mut self.0).unwrap();
        let mut range = redis::cmd("XRANGE");
        range.arg(key(queue, "work")).arg(&entry).arg(&entry);
        let (_, fields) = range.query::<Vec<Entry>>(&mut self.0).unwrap().pop()?;
        let item = String::from_utf8(fields[1].clone()).unwrap();
        Some(Held { queue, entry, item, is_started, worker: worker.to_owned(), consumer })
    }

    /// Whether the item is out of its worker's hand: another has it, or it is settled.
    pub fn is_taken_over(&mut self, held: &Held) -> bool {
        let mut pending = redis::cmd("XPENDING");
        pending
            .arg(key(held.queue, "work"))
            .arg("workers")
            .arg(&held.entry)
            .arg(&held.entry)
            .arg(1);
        let pending: Vec<Pending> = pending.query(&mut self.0).unwrap();
        pending.iter().all(|(_, consumer, ..)| *consumer != held.consumer)
    }

    /// Results that rollout workers and labelers ever gave, dead letters among them.
    pub fn results(&mut self) -> usize {
        let mut given = 0;
        for queue in [WorkerKind::Rollout, WorkerKind::Labeler] {
            let mut info = redis::cmd("XINFO");
            let info = info.arg("STREAM").arg(key(queue, "results")).query::<Info>(&mut self.0);
            // Before the first result there is no stream.
            let added = info.ok().and_then(|mut info| info.remove("entries-added"));
            given += added.map_or(0, |added| redis::from_redis_value::<usize>(added).unwrap());
        }
        given
    }

    /// How many dead letters there are.
    pub fn dead_letters(&mut self, queue: WorkerKind) -> usize {
        redis::cmd("XLEN").arg(key(queue, "dead")).query(&mut self.0).unwrap()
    }
}
