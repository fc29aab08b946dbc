//! Redis and the in-memory queue answer alike, whatever is asked of them in whatever order. The
//! latter is the state machine that `model` explores, so what is shown there holds for the scripts.

use crate::in_memory::InMemory;
use crate::redis_streams::{Address, RedisStreams};
use crate::store::{Claim, Handback, InHand, Standing, Started, Store, Token};
use crate::{Depth, Enqueued, Headers, Item, ItemId, Options, Outcome, Position};
use proptest::prelude::*;
use rlaif_testkit::RedisServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

const CONSUMERS: [&str; 2] = ["a", "b"];
const IDS: [&str; 4] = ["w", "x", "y", "z"];

/// What is asked. Numbers choose among what was seen so far.
#[derive(Debug, Clone)]
enum Ask {
    Enqueue(Vec<usize>),
    Read { consumer: usize, max: usize },
    Take { consumer: usize },
    Start { consumer: usize, entry: usize, repeat: bool, traced: bool },
    Heartbeat { consumer: usize, entry: usize, token: Option<usize> },
    Commit { consumer: usize, entry: usize, token: usize },
    Fail { consumer: usize, entry: usize, token: usize },
    Release { consumer: usize, entry: usize, token: Option<usize>, how: (bool, bool) },
    Progress { consumer: usize, entry: usize, token: usize },
    Acknowledge { result: usize },
    Requeue(usize),
    Cancel(usize),
    Discard(usize),
}

fn ask() -> impl Strategy<Value = Ask> {
    let consumer = 0..CONSUMERS.len();
    let (entry, token, id) = (0..8usize, 0..8usize, 0..IDS.len());
    let fenced = (consumer.clone(), entry.clone(), token.clone());
    let maybe = (consumer.clone(), entry.clone(), prop::option::of(token));
    prop_oneof![
        2 => prop::collection::vec(id.clone(), 1..4).prop_map(Ask::Enqueue),
        3 => (consumer.clone(), 1..3usize).prop_map(|(consumer, max)| Ask::Read { consumer, max }),
        3 => consumer.clone().prop_map(|consumer| Ask::Take { consumer }),
        6 => (consumer, entry, prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(consumer, entry, repeat, traced)| Ask::Start { consumer, entry, repeat, traced }
        ),
        2 => maybe.clone()
            .prop_map(|(consumer, entry, token)| Ask::Heartbeat { consumer, entry, token }),
        4 => fenced.clone().prop_map(|(consumer, entry, token)| Ask::Commit { consumer, entry, token }),
        3 => fenced.clone().prop_map(|(consumer, entry, token)| Ask::Fail { consumer, entry, token }),
        2 => (maybe, (any::<bool>(), prop::bool::weighted(0.2))).prop_map(
            |((consumer, entry, token), how)| Ask::Release { consumer, entry, token, how }
        ),
        1 => fenced.prop_map(|(consumer, entry, token)| Ask::Progress { consumer, entry, token }),
        1 => (0..6usize).prop_map(|result| Ask::Acknowledge { result }),
        1 => id.clone().prop_map(Ask::Requeue),
        1 => id.clone().prop_map(Ask::Cancel),
        1 => id.prop_map(Ask::Discard),
    ]
}

/// An answer in terms that both sides share: their positions differ, and their clocks.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Enqueued(Vec<Enqueued>),
    Entries(Vec<Item>),
    Taken(Option<(Item, bool, bool)>),
    Started(Started),
    Standings(Vec<Standing>),
    Recorded(bool),
    Count(usize),
    Nothing,
}

/// What one side has seen, in the order of being seen, which is the same on both.
#[derive(Default)]
struct Seen {
    entries: Vec<(Position, ItemId)>,
    tokens: Vec<Token>,
}

impl Seen {
    fn entry(&self, index: usize) -> Option<(Position, ItemId)> {
        self.entries.get(index % self.entries.len().max(1)).cloned()
    }

    fn token(&self, index: usize) -> Token {
        let none = Token { start: 1, nonce: u64::MAX };
        self.tokens.get(index % self.tokens.len().max(1)).copied().unwrap_or(none)
    }

    fn meet(&mut self, position: Position, item: &ItemId) {
        if !self.entries.iter().any(|(known, _)| *known == position) {
            self.entries.push((position, item.clone()));
        }
    }
}

async fn answer(store: &dyn Store, seen: &mut Seen, ask: &Ask, nonce: u64) -> Answer {
    match ask {
        Ask::Enqueue(which) => {
            let item = |id: &usize| Item::new(IDS[*id], nonce.to_string());
            let items: Vec<Item> = which.iter().map(item).collect();
            Answer::Enqueued(store.enqueue(&items).await.unwrap())
        }
        Ask::Read { consumer, max } => {
            let entries = store.read(CONSUMERS[*consumer], *max, Duration::ZERO).await.unwrap();
            entries.iter().for_each(|entry| seen.meet(entry.position, &entry.item.id));
            Answer::Entries(entries.into_iter().map(|entry| entry.item).collect())
        }
        Ask::Take { consumer } => {
            let taken = store.take(CONSUMERS[*consumer]).await.unwrap();
            Answer::Taken(taken.map(|taken| (taken.entry.item, taken.suspect, taken.lost)))
        }
        Ask::Start { consumer, entry, repeat, traced } => {
            let Some((entry, _)) = seen.entry(*entry) else { return Answer::Nothing };
            let trace = if *traced { format!("trace {nonce}") } else { String::new() };
            let nonce = if *repeat { seen.token(0).nonce } else { nonce };
            let started = store.start(CONSUMERS[*consumer], entry, nonce, &trace).await.unwrap();
            if let Started::Token { token, .. } = started {
                seen.tokens.push(token);
            }
            Answer::Started(started)
        }
        Ask::Heartbeat { consumer, entry, token } => {
            let Some((entry, _)) = seen.entry(*entry) else { return Answer::Nothing };
            let held = [InHand { entry, token: token.map(|token| seen.token(token)) }];
            Answer::Standings(store.heartbeat(CONSUMERS[*consumer], &held).await.unwrap())
        }
        Ask::Release { consumer, entry, token, how: (returns_start, rests) } => {
            let Some((entry, _)) = seen.entry(*entry) else { return Answer::Nothing };
            let held = InHand { entry, token: token.map(|token| seen.token(token)) };
            let given = [Handback { held, returns_start: *returns_start, rests: *rests }];
            Answer::Standings(store.release(CONSUMERS[*consumer], &given).await.unwrap())
        }
        Ask::Commit { consumer, entry, token }
        | Ask::Fail { consumer, entry, token }
        | Ask::Progress { consumer, entry, token } => {
            let Some((entry, item)) = seen.entry(*entry) else { return Answer::Nothing };
            let consumer = CONSUMERS[*consumer];
            let claim = Claim { consumer, entry, token: seen.token(*token) };
            settle(store, ask, claim, &item, nonce).await
        }
        Ask::Acknowledge { result } => {
            let results = store.results(Position::START, 100, Duration::ZERO).await.unwrap();
            if let Some(result) = results.get(*result) {
                store.acknowledge(result.position).await.unwrap();
            }
            Answer::Count(results.len())
        }
        Ask::Requeue(id) => Answer::Count(store.requeue(&[IDS[*id].into()]).await.unwrap()),
        Ask::Cancel(id) => Answer::Count(store.cancel(&[IDS[*id].into()]).await.unwrap()),
        Ask::Discard(id) => Answer::Count(store.discard(&[IDS[*id].into()]).await.unwrap()),
    }
}

async fn settle(
    store: &dyn Store,
    ask: &Ask,
    claim: Claim<'_>,
    item: &ItemId,
    nonce: u64,
) -> Answer {
    let (headers, payload) = (Headers::new(), nonce.to_be_bytes());
    match ask {
        Ask::Commit { .. } => {
            let standing = store.commit(claim, item, &headers, &payload).await.unwrap();
            Answer::Standings(vec![standing])
        }
        Ask::Fail { .. } => {
            Answer::Standings(vec![store.fail(claim, &nonce.to_string()).await.unwrap()])
        }
        _ => Answer::Recorded(store.progress(claim, item, &headers, &payload).await.unwrap()),
    }
}

/// Everything that can be seen of a queue from outside, without its clock.
async fn visible(store: &dyn Store) -> (Depth, Vec<(ItemId, Outcome)>, Vec<(Item, String)>) {
    let results = store.results(Position::START, 1000, Duration::ZERO).await.unwrap();
    let timeless = |outcome| match outcome {
        Outcome::Dead(mut death) => {
            death.attempts.iter_mut().for_each(|attempt| attempt.unix_ms = 0);
            Outcome::Dead(death)
        }
        other => other,
    };
    let results = results.into_iter().map(|r| (r.item, timeless(r.outcome))).collect();
    let letters = store.dead_letters(Position::START, 1000).await.unwrap();
    let letters = letters.into_iter().map(|letter| (letter.item, letter.death.error)).collect();
    let depth = store.depth().await.unwrap();
    assert_eq!(depth.oldest_age.is_some(), depth.outstanding > 0);
    assert_eq!(depth.outstanding, store.outstanding().await.unwrap());
    (Depth { oldest_age: None, ..depth }, results, letters)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn redis_and_memory_answer_alike(asks in prop::collection::vec(ask(), 1..60)) {
        thread_local! {
            static REDIS: (RedisServer, Runtime) = (RedisServer::start(), runtime());
        }
        // Each case has a queue of its own on the same server.
        static CASES: AtomicU64 = AtomicU64::new(0);
        let name = format!("case-{}", CASES.fetch_add(1, Ordering::Relaxed));
        REDIS.with(|(server, runtime)| {
            runtime.block_on(compare(&name, &Address::new(server.url()), &asks))
        })?;
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn compare(name: &str, address: &Address, asks: &[Ask]) -> Result<(), TestCaseError> {
    // Nothing expires, so what rests for a lease is out of reach; what else is released or has failed may be
    // taken at once.
    let lease = Duration::from_secs(3600);
    let options = Options {
        lease,
        retry_delay: Duration::ZERO,
        max_outstanding: 3,
        max_starts: 2,
        max_unread_progress: 2,
        ..Options::default()
    };
    let options = Arc::new(options);
    let redis = RedisStreams::connect(name, address, options.clone()).await.unwrap();
    let memory = InMemory::new(options);
    let (mut seen_redis, mut seen_memory) = (Seen::default(), Seen::default());
    for (step, ask) in asks.iter().enumerate() {
        let nonce = step as u64;
        let expected = answer(&memory, &mut seen_memory, ask, nonce).await;
        let found = answer(&redis, &mut seen_redis, ask, nonce).await;
        prop_assert_eq!(&found, &expected, "step {}: {:?}", step, ask);
        prop_assert_eq!(visible(&redis).await, visible(&memory).await, "step {}: {:?}", step, ask);
    }
    Ok(())
}
