//! One item at a time with the next leased ahead: what that must not change.

use super::site::{PATIENCE, Process, Site, quick, unhurried};
use crate::{Delivery, Error, Lease, OneByOne, Settlement};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Works on an item when it is let, and remembers what it did.
#[derive(Clone, Default)]
struct Gated {
    gate: Arc<Gate>,
}

#[derive(Debug, PartialEq, Eq, Clone)]
enum Did {
    Start(String),
    Work(String),
    Settle(String),
}

struct Gate {
    permits: Semaphore,
    did: Mutex<Vec<Did>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { permits: Semaphore::new(0), did: Mutex::default() }
    }
}

impl Gated {
    fn did(&self) -> Vec<Did> {
        self.gate.did.lock().unwrap().clone()
    }

    fn note(&self, did: Did) {
        self.gate.did.lock().unwrap().push(did);
    }

    /// Lets it work on this many items more.
    fn allow(&self, items: usize) {
        self.gate.permits.add_permits(items);
    }

    /// Runs as a worker of `process` until the token is cancelled.
    fn run(&self, process: &Process) -> (CancellationToken, JoinHandle<()>) {
        let (consumer, worker) = (process.consumer("one by one"), self.clone());
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let running = process.spawn(async move {
            consumer.one_by_one(&worker, &stop).await.expect("redis answers")
        });
        (shutdown, running)
    }

    /// Lets it finish what it works on, and ends it.
    fn end(&self, process: &Process, (shutdown, running): (CancellationToken, JoinHandle<()>)) {
        shutdown.cancel();
        self.allow(1);
        process.run(|_| running).unwrap();
    }
}

impl OneByOne for Gated {
    type Begun = Lease;

    async fn start(&self, delivery: Delivery) -> Result<Option<Lease>, Error> {
        self.note(Did::Start(delivery.id().to_string()));
        delivery.start().await
    }

    async fn work(&self, lease: Lease, worked: &CancellationToken) -> Result<(), Error> {
        let id = lease.id().to_string();
        self.note(Did::Work(id.clone()));
        self.gate.permits.acquire().await.expect("never closed").forget();
        worked.cancel();
        let settlement = lease.commit(Vec::new()).await?;
        assert_eq!(settlement, Settlement::Accepted);
        self.note(Did::Settle(id));
        Ok(())
    }
}

fn on_both(test: fn(&Site)) {
    test(&Site::in_memory(unhurried()));
    test(&Site::redis(unhurried()));
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn all_is_done_in_order_and_nothing_is_started_before_its_turn() {
    on_both(|site| {
        let process = site.process();
        process.enqueue(&["a", "b", "c"]);
        let worker = Gated::default();
        let running = worker.run(&process);
        for done in 1..=3 {
            let count = |which: fn(&Did) -> bool| worker.did().into_iter().filter(which).count();
            let worked_on = || count(|did| matches!(did, Did::Work(_)));
            until("work", || (worked_on() == done).then_some(()));
            // What the worker may have leased meanwhile is not started.
            assert_eq!(count(|did| matches!(did, Did::Start(_))), done);
            worker.allow(1);
            until("a result", || (process.done().len() == done).then_some(()));
        }
        // A result may be there a little before the worker hears of it.
        let settled = until("the last to be settled", || {
            let settled = worker.did().into_iter().filter(|did| matches!(did, Did::Settle(_)));
            Some(settled.collect::<Vec<_>>()).filter(|settled| settled.len() == 3)
        });
        assert_eq!(settled, ["a", "b", "c"].map(|id| Did::Settle(id.into())));
        worker.end(&process, running);
    });
}

#[test]
fn a_worker_that_is_slow_does_not_keep_what_it_leased_ahead() {
    on_both(|site| {
        let (slow, idle) = (site.process(), site.process());
        slow.enqueue(&["long", "next"]);
        let worker = Gated::default();
        let running = worker.run(&slow);
        until("work", || worker.did().get(1).cloned());
        let mut other = idle.consumer("idle");
        let next = idle.start_next(&mut other);
        assert_eq!((next.id().as_str(), next.attempt()), ("next", 1));
        assert_eq!(worker.did(), [Did::Start("long".into()), Did::Work("long".into())]);
        worker.end(&slow, running);
    });
}

#[test]
fn a_shutdown_hands_back_what_was_leased_ahead_and_waits_for_what_is_in_work() {
    on_both(|site| {
        let (leaving, staying) = (site.process(), site.process());
        leaving.enqueue(&["at work", "ahead"]);
        let worker = Gated::default();
        let running = worker.run(&leaving);
        until("work", || worker.did().get(1).cloned());
        running.0.cancel();
        let mut consumer = staying.consumer("staying");
        let ahead = staying.start_next(&mut consumer);
        assert_eq!((ahead.id().as_str(), ahead.attempt()), ("ahead", 1));
        worker.end(&leaving, running);
        assert_eq!(worker.did().last(), Some(&Did::Settle("at work".into())));
    });
}

#[test]
fn a_suspect_does_not_wait_for_a_worker_with_long_work() {
    for site in [Site::in_memory(quick()), Site::redis(quick())] {
        let (doomed, busy, idle) = (site.frozen_process(), site.process(), site.process());
        busy.enqueue(&["suspect"]);
        let mut consumer = doomed.consumer("doomed");
        let lost = doomed.start_next(&mut consumer);
        busy.enqueue(&["long"]);
        let worker = Gated::default();
        let running = worker.run(&busy);
        until("work", || worker.did().get(1).cloned());
        drop((lost, consumer, doomed));
        let mut other = idle.consumer("idle");
        let suspect = idle.run(|_| async {
            tokio::time::timeout(PATIENCE, async {
                loop {
                    if let Some(delivery) = other.lease(1, quick().lease).await.unwrap().pop() {
                        break delivery.start().await.unwrap().unwrap();
                    }
                }
            })
            .await
            .expect("it is taken over")
        });
        assert_eq!((suspect.id().as_str(), suspect.attempt()), ("suspect", 2));
        worker.end(&busy, running);
    }
}
