//! What KEDA makes of the queue: it asks Redis for the length of one stream, by the key that its manifest names, and
//! keeps labelers running while that is more than nothing. Too little, and work waits for ever with no worker to do
//! it; too much, and idle GPUs are paid for.

use super::site::{Process, frozen_runtime, unhurried};
use crate::redis_streams::{Address, RedisStreams};
use crate::store::{Claim, Handback, InHand, Started, Store, Token};
use crate::{Enqueued, Headers, Item, ItemId, Options, Outcome, Position};
use proptest::prelude::*;
use rlaif_testkit::RedisServer;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the labelers' queue.
const QUEUE: &str = "label";
const WORKERS: usize = 3;
const ITEMS: usize = 5;
/// So short that a killed worker's items can be taken over at once; nobody here sends heartbeats.
const LEASE: Duration = Duration::from_millis(1);

/// The trigger's metadata in KEDA's manifest.
fn trigger(name: &str) -> Option<String> {
    let manifest =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/k8s/components/keda/labeler.yaml");
    let text = std::fs::read_to_string(manifest).unwrap_or_else(|e| panic!("{manifest}: {e}"));
    let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
    Some(value.trim_matches('"').to_owned())
}

/// The value of the trigger as KEDA's redis-streams scaler reads it where it is told of no consumer group.
fn keda_reads(connection: &mut redis::Connection) -> u64 {
    assert_eq!(trigger("consumerGroup"), None, "KEDA would not read the length");
    let stream = trigger("stream").expect("the trigger names a stream");
    redis::cmd("XLEN").arg(stream).query(connection).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    /// The coordinator hands out these.
    Enqueue(Vec<usize>),
    /// A worker begins what is new, or else what was given up or belonged to the dead.
    Begin(usize),
    Commit(usize),
    Fail(usize),
    /// SIGTERM: it gives back what it has in hand.
    Release(usize),
    /// SIGKILL: it says nothing more, and another takes its place.
    Kill(usize),
    /// A killed worker was only slow, and commits after all.
    CommitLate(usize),
    Requeue(usize),
    Cancel(usize),
    /// The coordinator has made all results its own.
    Acknowledge,
}

fn step() -> impl Strategy<Value = Step> {
    let (worker, item) = (0..WORKERS, 0..ITEMS);
    prop_oneof![
        3 => prop::collection::vec(item.clone(), 1..4).prop_map(Step::Enqueue),
        8 => worker.clone().prop_map(Step::Begin),
        3 => worker.clone().prop_map(Step::Commit),
        2 => worker.clone().prop_map(Step::Fail),
        1 => worker.clone().prop_map(Step::Release),
        3 => worker.prop_map(Step::Kill),
        1 => (0..8usize).prop_map(Step::CommitLate),
        2 => item.clone().prop_map(Step::Requeue),
        1 => item.prop_map(Step::Cancel),
        1 => Just(Step::Acknowledge),
    ]
}

/// A started item.
#[derive(Clone)]
struct Begun {
    worker: String,
    entry: Position,
    token: Token,
    item: ItemId,
}

/// A queue, its workers, and what a coordinator knows of its items.
struct Story {
    store: RedisStreams,
    /// By place; a killed one is followed by another of another name.
    workers: Vec<(String, Vec<Begun>)>,
    killed: Vec<Begun>,
    /// Handed out and without an outcome, as results tell.
    unfinished: BTreeSet<ItemId>,
    read_upto: Position,
    steps: u64,
}

impl Story {
    async fn begin(address: &Address) -> Self {
        let options = Options {
            lease: LEASE,
            retry_delay: Duration::ZERO,
            max_starts: 2,
            ..Options::default()
        };
        Self {
            store: RedisStreams::connect(QUEUE, address, Arc::new(options)).await.unwrap(),
            workers: (0..WORKERS).map(|place| (format!("worker-{place}"), Vec::new())).collect(),
            killed: Vec::new(),
            unfinished: BTreeSet::new(),
            read_upto: Position::START,
            steps: 0,
        }
    }

    async fn go(&mut self, step: &Step) {
        self.steps += 1;
        match step {
            Step::Enqueue(which) => {
                let items: Vec<Item> = which.iter().map(|i| Item::new(id(*i), *b"work")).collect();
                let answers = self.store.enqueue(&items).await.unwrap();
                let added = items.into_iter().zip(answers).filter(|(_, a)| *a == Enqueued::Added);
                self.unfinished.extend(added.map(|(item, _)| item.id));
            }
            Step::Begin(place) => self.start(*place).await,
            Step::Commit(place) => {
                if let Some(begun) = self.workers[*place].1.pop() {
                    self.commit(&begun).await;
                }
            }
            Step::Fail(place) => {
                if let Some(begun) = self.workers[*place].1.pop() {
                    self.store.fail(claim(&begun), "no").await.unwrap();
                }
            }
            Step::Release(place) => {
                for begun in std::mem::take(&mut self.workers[*place].1) {
                    let held = InHand { entry: begun.entry, token: Some(begun.token) };
                    let given = [Handback { held, returns_start: true, rests: false }];
                    self.store.release(&begun.worker, &given).await.unwrap();
                }
            }
            Step::Kill(place) => {
                let next = (format!("worker-{place}-{}", self.steps), Vec::new());
                let (_, held) = std::mem::replace(&mut self.workers[*place], next);
                self.killed.extend(held);
            }
            Step::CommitLate(which) => {
                if let Some(begun) = self.killed.get(*which).cloned() {
                    self.commit(&begun).await;
                }
            }
            Step::Requeue(which) => {
                if self.store.requeue(&[id(*which)]).await.unwrap() == 1 {
                    self.unfinished.insert(id(*which));
                }
            }
            Step::Cancel(which) => {
                if self.store.cancel(&[id(*which)]).await.unwrap() == 1 {
                    self.unfinished.remove(&id(*which));
                }
            }
            Step::Acknowledge => self.store.acknowledge(self.read_upto).await.unwrap(),
        }
        self.read_results().await;
    }

    async fn start(&mut self, place: usize) {
        let worker = self.workers[place].0.clone();
        let new = self.store.read(&worker, 1, Duration::ZERO).await.unwrap().pop();
        let entry = match new {
            Some(entry) => Some(entry),
            None => self.store.take(&worker).await.unwrap().map(|taken| taken.entry),
        };
        let Some(entry) = entry else { return };
        let started = self.store.start(&worker, entry.position, self.steps, "").await.unwrap();
        if let Started::Token { token, .. } = started {
            let begun = Begun { worker, entry: entry.position, token, item: entry.item.id };
            self.workers[place].1.push(begun);
        }
    }

    async fn commit(&self, begun: &Begun) {
        self.store.commit(claim(begun), &begun.item, &Headers::new(), b"done").await.unwrap();
    }

    async fn read_results(&mut self) {
        for result in self.store.results(self.read_upto, 1000, Duration::ZERO).await.unwrap() {
            self.read_upto = result.position;
            match result.outcome {
                Outcome::Done { .. } | Outcome::Dead(_) => {
                    assert!(self.unfinished.remove(&result.item), "{} ended twice", result.item);
                }
                Outcome::Progress(_) => {}
            }
        }
    }

    /// Workers that nothing happens to do what is left.
    async fn end(&mut self, mut between: impl FnMut(&Self)) {
        let began = Instant::now();
        while !self.unfinished.is_empty() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "{:?} stay unfinished",
                self.unfinished
            );
            tokio::time::sleep(LEASE * 2).await;
            for step in [Step::Begin(0), Step::Commit(0)] {
                self.go(&step).await;
                between(self);
            }
        }
    }
}

fn id(which: usize) -> ItemId {
    format!("item-{which}").as_str().into()
}

fn claim(begun: &Begun) -> Claim<'_> {
    Claim { consumer: &begun.worker, entry: begun.entry, token: begun.token }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// Whoever is killed, whatever fails, dies, is put back or called off: there are labelers exactly while there is
    /// work, in hand or not.
    #[test]
    fn the_trigger_is_what_is_unfinished(steps in prop::collection::vec(step(), 1..60)) {
        thread_local! {
            static REDIS: RedisServer = RedisServer::start();
        }
        REDIS.with(|server| {
            let mut keda = server.connection();
            redis::cmd("FLUSHALL").exec(&mut keda).unwrap();
            // Before anything was ever queued there is no such key.
            prop_assert_eq!(keda_reads(&mut keda), 0);
            frozen_runtime().block_on(async {
                let mut story = Story::begin(&Address::new(server.url())).await;
                for (at, step) in steps.iter().enumerate() {
                    story.go(step).await;
                    let unfinished = story.unfinished.len() as u64;
                    prop_assert_eq!(keda_reads(&mut keda), unfinished, "step {}: {:?}", at, step);
                }
                story.end(|story| {
                    assert_eq!(keda_reads(&mut keda), story.unfinished.len() as u64);
                }).await;
                prop_assert_eq!(keda_reads(&mut keda), 0);
                Ok::<(), TestCaseError>(())
            })
        })?;
    }
}

/// The same with a worker as it runs, which KEDA must replace: nothing of it gets to say goodbye.
#[test]
fn a_worker_that_is_killed_leaves_the_trigger_as_it_was() {
    let server = RedisServer::start();
    let mut keda = server.connection();
    let process =
        || Process::at_queue(QUEUE, frozen_runtime(), &Address::new(server.url()), &unhurried());
    let coordinator = process();
    coordinator.enqueue(&["a", "b"]);
    let worker = process();
    let mut consumer = worker.consumer("worker");
    let (first, _second) = (worker.start_next(&mut consumer), worker.start_next(&mut consumer));
    assert_eq!(keda_reads(&mut keda), 2);
    worker.run(|_| first.commit(b"done".to_vec())).unwrap();
    drop(worker);
    assert_eq!(keda_reads(&mut keda), 1);
    assert_eq!(coordinator.outstanding(), 1);
}
