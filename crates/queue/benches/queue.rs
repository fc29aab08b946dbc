//! What the queue costs: fenced commits, how busy it keeps workers, memory; beside what the same
//! Redis does for a plain PING and XADD over the same connection. Redis is a child of this program
//! on the loopback interface, with an append-only file (fsync every second).
//!
//! `cargo bench -p rlaif-queue` prints one JSON line a measurement. See benches/README.md.

use redis::aio::ConnectionManager;
use rlaif_queue::{
    Address, Consumer, Delivery, Error, Item, Lease, OneByOne, Options, Queue, Settlement,
};
use rlaif_testkit::{RedisServer, free_port};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PAYLOAD: [u8; 200] = [b'x'; 200];
const COMMITS: usize = 20_000;
/// Leases in hand at once, and commands in flight where they are pipelined.
const IN_FLIGHT: usize = 500;
const WORKERS: usize = 64;
const OUTSTANDING: usize = 1_000_000;

#[tokio::main]
async fn main() {
    let port = free_port().to_string();
    let _server = RedisServer::start_with(&["--port", &port]);
    let server = Address::new(format!("redis://127.0.0.1:{port}/"));
    // How busy workers are depends most on what else this machine does; alone it is quickly repeated.
    if std::env::args().any(|arg| arg == "workers") {
        return busy(&server).await;
    }
    baseline(&server).await;
    commits(&server, "commits", commit_one_by_one).await;
    commits(&server, "commits pipelined", commit_together).await;
    busy(&server).await;
    baseline(&server).await;
    memory(&server).await;
}

async fn busy(server: &Address) {
    for service in [Duration::from_millis(50), Duration::from_millis(200)] {
        workers(server, service).await;
    }
}

fn rate(measured: &str, count: usize, elapsed: Duration) {
    let per_s = (count as f64 / elapsed.as_secs_f64()).round();
    println!("{}", json!({"measured": measured, "count": count, "per_s": per_s}));
}

async fn baseline(server: &Address) {
    let client = redis::Client::open(server.url.as_str()).expect("url");
    let mut connection = ConnectionManager::new(client).await.expect("redis answers");
    let started = Instant::now();
    for _ in 0..COMMITS {
        let () = redis::cmd("PING").exec_async(&mut connection).await.expect("pong");
    }
    rate("PING", COMMITS, started.elapsed());

    let mut add = redis::cmd("XADD");
    add.arg("{bench}").arg("*").arg("p").arg(&PAYLOAD);
    let started = Instant::now();
    for _ in 0..COMMITS {
        add.exec_async(&mut connection).await.expect("added");
    }
    rate("XADD", COMMITS, started.elapsed());
    let () = redis::cmd("DEL").arg("{bench}").exec_async(&mut connection).await.expect("deleted");
}

async fn queue(server: &Address, name: &str) -> Queue {
    let max_outstanding = OUTSTANDING as u64;
    let options = Options { max_outstanding, ..Options::default() };
    Queue::redis(name, server, options).await.expect("redis answers")
}

fn items(range: std::ops::Range<usize>) -> Vec<Item> {
    range.map(|n| Item::new(format!("bench/label/{n}"), PAYLOAD)).collect()
}

/// Commits per second of leases that were started before.
async fn commits<F: Future>(server: &Address, name: &str, commit_all: impl Fn(Vec<Lease>) -> F) {
    let queue = queue(server, &name.replace(' ', "-")).await;
    queue.enqueue(items(0..COMMITS)).await.expect("room");
    let mut consumer = queue.consumer("bench");
    let mut elapsed = Duration::ZERO;
    while queue.outstanding().await.expect("redis answers") > 0 {
        let leases = start(&mut consumer).await;
        let started = Instant::now();
        commit_all(leases).await;
        elapsed += started.elapsed();
    }
    rate(name, COMMITS, elapsed);
}

async fn start(consumer: &mut Consumer) -> Vec<Lease> {
    let mut leases = Vec::new();
    for delivery in consumer.lease(IN_FLIGHT, Duration::ZERO).await.expect("redis answers") {
        leases.push(delivery.start().await.expect("redis answers").expect("nobody interferes"));
    }
    leases
}

async fn commit(lease: Lease) {
    let settlement = lease.commit(PAYLOAD.to_vec()).await.expect("redis answers");
    assert_eq!(settlement, Settlement::Accepted);
}

async fn commit_one_by_one(leases: Vec<Lease>) {
    for lease in leases {
        commit(lease).await;
    }
}

async fn commit_together(leases: Vec<Lease>) {
    leases.into_iter().map(commit).collect::<JoinSet<()>>().join_all().await;
}

/// A worker with a fixed service time; the one that does the last item ends all.
struct Worker {
    service: Duration,
    left: Arc<AtomicUsize>,
    end: CancellationToken,
}

impl OneByOne for Worker {
    type Begun = Lease;

    async fn start(&self, delivery: Delivery) -> Result<Option<Lease>, Error> {
        delivery.start().await
    }

    async fn work(&self, lease: Lease, worked: &CancellationToken) -> Result<(), Error> {
        tokio::time::sleep(self.service).await;
        worked.cancel();
        commit(lease).await;
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.end.cancel();
        }
        Ok(())
    }
}

/// The share of their time that workers with a fixed service time, one item at once, spend on
/// items rather than on the queue.
async fn workers(server: &Address, service: Duration) {
    let queue = queue(server, &format!("workers-{}", service.as_millis())).await;
    let per_worker = (Duration::from_secs(10).as_millis() / service.as_millis()) as usize;
    queue.enqueue(items(0..per_worker * WORKERS)).await.expect("room");
    let left = Arc::new(AtomicUsize::new(per_worker * WORKERS));
    let end = CancellationToken::new();
    let work = |worker: usize| {
        let consumer = queue.consumer(&worker.to_string());
        let worker = Worker { service, left: left.clone(), end: end.clone() };
        async move { consumer.one_by_one(&worker, &worker.end).await.expect("redis answers") }
    };
    let started = Instant::now();
    let working = (0..WORKERS).map(work).collect::<JoinSet<()>>();
    end.cancelled().await;
    let elapsed = started.elapsed();
    working.join_all().await;
    let efficiency = service.as_secs_f64() * per_worker as f64 / elapsed.as_secs_f64();
    let line = json!({"measured": "workers", "workers": WORKERS, "service_ms": service.as_millis(),
        "items": per_worker * WORKERS, "seconds": elapsed.as_secs_f64(), "efficiency": efficiency});
    println!("{line}");
}

/// Bytes of Redis per item that waits for a worker.
async fn memory(server: &Address) {
    let client = redis::Client::open(server.url.as_str()).expect("url");
    let mut connection = client.get_connection().expect("redis answers");
    let mut used = || {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut connection).expect("info");
        let bytes = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        bytes.expect("redis tells its memory").trim().parse::<f64>().expect("a number")
    };
    let queue = queue(server, "memory").await;
    let (before, started) = (used(), Instant::now());
    for first in (0..OUTSTANDING).step_by(10_000) {
        queue.enqueue(items(first..first + 10_000)).await.expect("room");
    }
    rate("enqueue in batches", OUTSTANDING, started.elapsed());
    let per_item = (used() - before) / OUTSTANDING as f64;
    let line = json!({"measured": "memory", "items": OUTSTANDING, "bytes_per_item": per_item.round(),
        "payload_bytes": PAYLOAD.len(), "state_bytes": (per_item - PAYLOAD.len() as f64).round()});
    println!("{line}");
}
