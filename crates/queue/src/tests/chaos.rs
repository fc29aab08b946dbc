//! Exactly one result for each of many items while workers are killed, frozen past their leases,
//! careless or leaving, poison kills who starts it, Redis is killed twice, and the coordinator
//! forgets what it did not make durable.
//!
//! Every choice is drawn from the seed of its thread; how the threads meet is not.

use super::site::{ALWAYS_FSYNC, Process, frozen_runtime};
use crate::{Address, Consumer, Item, ItemId, Lease, Options, Outcome, Position, Settlement};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_testkit::RedisServer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const ITEMS: usize = 400;
const POISON: [&str; 2] = ["poison-a", "poison-b"];
const WORKERS: u64 = 4;
/// So many that no innocent item loses all to kills, of which a start meets one in seven.
const MAX_STARTS: u32 = 8;

fn options() -> Options {
    let lease = Duration::from_millis(800);
    let retry_delay = Duration::from_millis(20);
    Options { lease, retry_delay, max_starts: MAX_STARTS, ..Options::default() }
}

/// What the workers did, by the tags that their results carried.
#[derive(Default)]
struct History {
    refused: Mutex<BTreeSet<String>>,
    poison_starts: AtomicUsize,
    finished: AtomicBool,
}

/// How a worker treats the batch that it has started.
enum Fate {
    Commits,
    /// SIGSTOP until the leases are over, SIGCONT.
    FreezesFirst,
    /// SIGKILL.
    Dies,
    /// Panics in each task, but lives.
    Drops,
    /// SIGTERM.
    Leaves,
}

fn fate(rng: &mut impl Rng) -> Fate {
    match rng.random_range(0..14) {
        0 => Fate::FreezesFirst,
        1 => Fate::Dies,
        2 => Fate::Drops,
        3 => Fate::Leaves,
        _ => Fate::Commits,
    }
}

struct Worker<'a> {
    history: &'a History,
    rng: ChaCha8Rng,
    number: u64,
    tags: u64,
}

impl Worker<'_> {
    /// One life of a worker process.
    fn live(&mut self, process: Process) {
        let mut consumer = process.consumer(&format!("worker-{}", self.number));
        while !self.history.finished.load(Ordering::Relaxed) {
            let leases = self.start_some(&process, &mut consumer);
            let poison = leases.iter().filter(|l| POISON.contains(&l.id().as_str())).count();
            if poison > 0 {
                self.history.poison_starts.fetch_add(poison, Ordering::Relaxed);
                return;
            }
            match fate(&mut self.rng) {
                Fate::Commits => self.commit_all(&process, leases),
                Fate::FreezesFirst => {
                    std::thread::sleep(options().lease * 2);
                    self.commit_all(&process, leases);
                }
                Fate::Dies => return,
                Fate::Drops => drop(leases),
                Fate::Leaves => return process.run(|_| consumer.shutdown()),
            }
        }
    }

    fn start_some(&mut self, process: &Process, consumer: &mut Consumer) -> Vec<Lease> {
        let (max, wait) = (self.rng.random_range(1..5), Duration::from_millis(200));
        process.run(async |_| {
            let mut leases = Vec::new();
            for delivery in consumer.lease(max, wait).await.unwrap() {
                leases.extend(delivery.start().await.unwrap());
            }
            leases
        })
    }

    fn commit_all(&mut self, process: &Process, leases: Vec<Lease>) {
        for lease in leases {
            self.tags += 1;
            let tag = format!("{}/{}", self.number, self.tags);
            let settlement = process.run(|_| lease.commit(tag.clone().into_bytes())).unwrap();
            // Gone may also mean: accepted, acknowledged, and only the answer lost with Redis.
            if settlement == Settlement::Fenced {
                self.history.refused.lock().unwrap().insert(tag);
            }
        }
    }
}

/// The only consumer of results, which remembers what it made durable and nothing else.
struct Coordinator {
    process: Process,
    durable: BTreeMap<ItemId, Outcome>,
    rng: ChaCha8Rng,
}

impl Coordinator {
    /// Starts, also after a crash: offers what is not durable, and reads from the start.
    fn offer(&self) {
        let ids = (0..ITEMS).map(|n| ItemId::from(n.to_string()));
        let ids = ids.chain(POISON.map(ItemId::from));
        let items: Vec<Item> = ids
            .filter(|id| !self.durable.contains_key(id))
            .map(|id| Item::new(id.as_str(), *b"work"))
            .collect();
        self.process.run(|queue| async move { queue.enqueue(items).await }).unwrap();
    }

    fn consume(&mut self) {
        let (max, wait) = (self.rng.random_range(1..40), Duration::from_millis(100));
        let results = self
            .process
            .run(|queue| async move { queue.results(Position::START, max, wait).await.unwrap() });
        let Some(last) = results.last().map(|entry| entry.position) else { return };
        for entry in results {
            let first = self.durable.entry(entry.item.clone()).or_insert(entry.outcome.clone());
            assert_eq!(*first, entry.outcome, "{} has two results", entry.item);
        }
        if self.rng.random_bool(0.7) {
            self.process.run(|queue| async move { queue.acknowledge(last).await }).unwrap();
        }
        if self.rng.random_bool(0.1) {
            self.offer();
        }
    }
}

/// Ends the workers when it is dropped.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn each_item_has_exactly_one_result_whatever_is_killed() {
    let mut server = RedisServer::start_with(&ALWAYS_FSYNC);
    let (address, history) = (Address::new(server.url()), History::default());
    let process = Process::connect(frozen_runtime(), &address, &options());
    let rng = ChaCha8Rng::seed_from_u64(0);
    let mut coordinator = Coordinator { process, durable: BTreeMap::new(), rng };
    coordinator.offer();
    std::thread::scope(|scope| {
        // Also when an assertion fails: the scope waits for its threads.
        let finished = Finish(&history.finished);
        for number in 1..=WORKERS {
            let (address, history) = (&address, &history);
            scope.spawn(move || {
                let rng = ChaCha8Rng::seed_from_u64(number);
                let mut worker = Worker { history, rng, number, tags: 0 };
                while !history.finished.load(Ordering::Relaxed) {
                    worker.live(Process::connect(frozen_runtime(), address, &options()));
                }
            });
        }
        let mut kills = [ITEMS / 4, ITEMS / 2].into_iter().peekable();
        while coordinator.durable.len() < ITEMS + POISON.len() {
            coordinator.consume();
            if kills.next_if(|at| coordinator.durable.len() >= *at).is_some() {
                server.restart();
            }
        }
        drop(finished);
    });

    let mut dead = Vec::new();
    let refused = history.refused.lock().unwrap();
    for (item, outcome) in &coordinator.durable {
        match outcome {
            Outcome::Done { payload, .. } => {
                let tag = std::str::from_utf8(payload).unwrap();
                assert!(!refused.contains(tag), "the result of a fenced start counts");
            }
            _ => dead.push(item.as_str()),
        }
    }
    assert_eq!(dead, POISON);
    let expected = MAX_STARTS as usize * POISON.len();
    assert_eq!(history.poison_starts.load(Ordering::Relaxed), expected);
    assert!(!refused.is_empty(), "no zombie was fenced: the test is too kind");
    assert_eq!(coordinator.process.outstanding(), 0);
}
