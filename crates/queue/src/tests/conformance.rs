//! What both implementations promise, by the same tests.

use super::site::{PATIENCE, Process, Site, quick, unhurried};
use crate::store::{Claim, Handback, InHand, Standing, Started};
use crate::{
    Consumer, Depth, Enqueued, Error, Item, ItemId, Options, Outcome, Position, Settlement,
};
use rlaif_testkit::eventually;
use std::time::Duration;

macro_rules! conformance {
    ($($test:ident with $options:expr;)*) => {
        mod in_memory {
            use super::*;
            $(#[test] fn $test() { super::$test(&Site::in_memory($options)); })*
        }
        mod redis_streams {
            use super::*;
            $(#[test] fn $test() { super::$test(&Site::redis($options)); })*
        }
    };
}

conformance! {
    a_result_comes_back_with_the_items_headers_until_it_is_acknowledged with unhurried();
    a_duplicate_changes_nothing_until_its_first_is_acknowledged with unhurried();
    a_full_queue_refuses_and_says_how_much_it_took with full_at_three();
    what_is_over_a_limit_is_refused_on_both_ways with unhurried();
    a_zombies_result_is_refused with quick();
    an_expired_lease_is_taken_over_and_its_holder_told with quick();
    a_live_worker_never_loses_its_lease with quick();
    a_consumer_vanishing_between_lease_and_start_costs_no_start with quick();
    poison_dies_after_exactly_its_starts_and_its_neighbours_live with quick();
    a_suspect_runs_alone with quick();
    shutdown_hands_over_at_once_and_returns_the_starts with unhurried();
    what_is_put_off_comes_after_what_lies_behind_it_and_keeps_its_start with quick();
    a_dropped_lease_is_handed_back_with_its_start_counted with unhurried();
    failures_are_recorded_and_the_last_one_is_death with unhurried();
    a_start_is_told_the_trace_of_the_start_before with quick();
    a_heartbeat_that_comes_late_holds_nothing_back with unhurried();
    a_cancelled_item_is_gone_for_its_worker with quick();
    progress_is_a_result_of_whoever_holds_the_lease with unhurried();
    a_requeued_letter_outlives_the_acknowledgement_of_its_death with unhurried();
    who_works_on_what_is_known_until_it_is_settled with unhurried();
    dead_letters_are_paged_and_stay_until_they_are_discarded with unhurried();
    leasing_waits_for_work_and_reading_for_results with unhurried();
    its_depth_is_what_waits_since_when_and_what_was_given_up with unhurried();
}

fn full_at_three() -> Options {
    Options { max_outstanding: 3, ..unhurried() }
}

fn ids(ids: &[&str]) -> Vec<ItemId> {
    ids.iter().map(|id| ItemId::from(*id)).collect()
}

fn commit(process: &Process, lease: crate::Lease, payload: &str) -> Settlement {
    process.run(|_| lease.commit(payload.as_bytes().to_vec())).unwrap()
}

fn acknowledge_all(process: &Process) {
    let last = process.results().last().expect("a result").position;
    process.run(|queue| async move { queue.acknowledge(last).await }).unwrap();
}

fn shut_down(process: &Process, consumer: Consumer) {
    process.run(|_| consumer.shutdown());
}

fn a_result_comes_back_with_the_items_headers_until_it_is_acknowledged(site: &Site) {
    let process = site.process();
    let mut item = Item::new("job/label/1", [0, 255, b'\n']);
    item.headers.insert("traceparent".to_owned(), "00-ü\"\n".to_owned());
    let (sent, headers) = (item.clone(), item.headers.clone());
    process.run(|queue| async move { queue.enqueue(vec![item]).await }).unwrap();

    let mut consumer = process.consumer("a");
    let lease = process.start_next(&mut consumer);
    assert_eq!((lease.id(), lease.payload()), (&sent.id, &sent.payload[..]));
    assert_eq!((lease.headers(), lease.attempt()), (&headers, 1));
    assert_eq!(process.outstanding(), 1);
    let answer = vec![7, 0, 200];
    let settlement = process.run(|_| lease.commit(answer.clone())).unwrap();
    assert_eq!(settlement, Settlement::Accepted);
    assert_eq!(process.outstanding(), 0);

    for _ in 0..2 {
        let [result] = process.results().try_into().unwrap();
        assert_eq!((&result.item, &result.headers), (&sent.id, &headers));
        assert_eq!(result.outcome, Outcome::Done { payload: answer.clone(), attempts: 1 });
    }
    acknowledge_all(&process);
    assert_eq!(process.results(), []);
}

fn a_duplicate_changes_nothing_until_its_first_is_acknowledged(site: &Site) {
    let process = site.process();
    let enqueue = |payload: &'static str| {
        let items = vec![Item::new("x", payload), Item::new("x", "again")];
        process.run(|queue| async move { queue.enqueue(items).await.unwrap() })
    };
    assert_eq!(enqueue("first"), [Enqueued::Added, Enqueued::Duplicate]);
    assert_eq!(enqueue("second"), [Enqueued::Duplicate, Enqueued::Duplicate]);
    let mut consumer = process.consumer("a");
    let lease = process.start_next(&mut consumer);
    assert_eq!(lease.payload(), b"first");
    commit(&process, lease, "done");
    assert_eq!(enqueue("third"), [Enqueued::Duplicate, Enqueued::Duplicate]);
    assert_eq!((process.outstanding(), process.results().len()), (0, 1));
    acknowledge_all(&process);
    assert_eq!(enqueue("fourth"), [Enqueued::Added, Enqueued::Duplicate]);
}

fn a_full_queue_refuses_and_says_how_much_it_took(site: &Site) {
    let process = site.process();
    let offer = |ids: &[&str]| {
        let items = ids.iter().map(|id| Item::new(*id, *b"work")).collect();
        process.run(|queue| async move { queue.enqueue(items).await })
    };
    match offer(&["a", "b", "c", "d", "e"]) {
        Err(Error::Full { accepted: 3, retry_after }) => assert!(!retry_after.is_zero()),
        other => panic!("{other:?}"),
    }
    let is_full = || process.run(|queue| async move { queue.depth().await }).unwrap().is_full;
    assert!(is_full());
    // What it holds is answered even now; that a result waits to be read frees nothing.
    assert_eq!(offer(&["c"]).unwrap(), [Enqueued::Duplicate]);
    let mut consumer = process.consumer("w");
    let lease = process.start_next(&mut consumer);
    commit(&process, lease, "done");
    assert!(matches!(offer(&["d"]), Err(Error::Full { accepted: 0, .. })));
    acknowledge_all(&process);
    assert!(!is_full());
    assert_eq!(offer(&["d"]).unwrap(), [Enqueued::Added]);
}

fn what_is_over_a_limit_is_refused_on_both_ways(site: &Site) {
    let process = site.process();
    let large = vec![0; Options::default().max_payload_bytes + 1];
    let items = vec![Item::new("small", *b"1"), Item::new("large", large.clone())];
    let refused = process.run(|queue| async move { queue.enqueue(items).await });
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    assert_eq!(process.outstanding(), 0);

    process.enqueue(&["x"]);
    let mut consumer = process.consumer("a");
    let lease = process.start_next(&mut consumer);
    let refused = process.run(|_| lease.commit(large));
    assert!(matches!(refused, Err(Error::TooLarge { .. })));
    assert_eq!(process.start_next(&mut consumer).attempt(), 2);
}

fn a_zombies_result_is_refused(site: &Site) {
    let (zombie, worker) = (site.frozen_process(), site.process());
    worker.enqueue(&["x"]);
    let mut frozen = zombie.consumer("zombie");
    let stale = zombie.start_next(&mut frozen);

    let mut consumer = worker.consumer("worker");
    let lease = worker.start_next(&mut consumer);
    assert_eq!(lease.attempt(), 2);
    assert_eq!(commit(&zombie, stale, "stale"), Settlement::Fenced);
    assert_eq!(commit(&worker, lease, "fresh"), Settlement::Accepted);
    assert_eq!(worker.done(), [("x".to_owned(), "fresh".to_owned(), 2)]);
    assert_eq!(worker.queue.takeovers(), 1);
}

fn an_expired_lease_is_taken_over_and_its_holder_told(site: &Site) {
    let (zombie, worker) = (site.frozen_process(), site.process());
    worker.enqueue(&["x"]);
    let mut frozen = zombie.consumer("zombie");
    let stale = zombie.start_next(&mut frozen);
    let mut consumer = worker.consumer("worker");
    let lease = worker.start_next(&mut consumer);
    assert!(!lease.lost().is_cancelled());

    let told = async { tokio::time::timeout(PATIENCE, stale.lost().cancelled()).await };
    zombie.run(|_| told).expect("the heartbeat of the thawed process is fenced");
    assert_eq!(commit(&worker, lease, "fresh"), Settlement::Accepted);
    // Even after the item was settled.
    assert_eq!(commit(&zombie, stale, "stale"), Settlement::Fenced);
    acknowledge_all(&worker);
    assert_eq!(worker.outstanding(), 0);
}

fn a_live_worker_never_loses_its_lease(site: &Site) {
    let (worker, rival) = (site.process(), site.process());
    worker.enqueue(&["started", "waiting"]);
    let mut consumer = worker.consumer("worker");
    let mut batch = worker.run(|_| consumer.lease(2, PATIENCE)).unwrap();
    let waiting = batch.pop().unwrap();
    let lease = worker.run(|_| batch.pop().unwrap().start()).unwrap().unwrap();

    let mut other = rival.consumer("rival");
    let taken = rival.run(|_| other.lease(2, quick().lease * 3)).unwrap();
    assert!(taken.is_empty(), "a heartbeat was missed, or this machine stood still for a second");
    assert!(!lease.lost().is_cancelled());
    assert_eq!(commit(&worker, lease, "at last"), Settlement::Accepted);
    // What waited in hand was kept as well.
    let lease = worker.run(|_| waiting.start()).unwrap().unwrap();
    assert_eq!(commit(&worker, lease, "too"), Settlement::Accepted);
}

fn a_consumer_vanishing_between_lease_and_start_costs_no_start(site: &Site) {
    let worker = site.process();
    worker.enqueue(&["x"]);
    for _ in 0..quick().max_starts {
        let victim = site.frozen_process();
        let mut consumer = victim.consumer("victim");
        let delivery = victim.next(&mut consumer);
        drop((delivery, consumer, victim));
    }
    let mut consumer = worker.consumer("worker");
    let lease = worker.start_next(&mut consumer);
    assert_eq!(lease.attempt(), 1);
    assert_eq!(commit(&worker, lease, "done"), Settlement::Accepted);
}

/// A worker process that runs what it leases together; poison kills it. Whether it was killed.
fn run_a_worker_until_idle(site: &Site, poison_starts: &mut u32) -> bool {
    let process = site.frozen_process();
    let mut consumer = process.consumer("worker");
    while process.outstanding() > 0 {
        let batch = process.run(|_| consumer.lease(4, quick().lease * 2)).unwrap();
        let mut leases = Vec::new();
        for delivery in batch {
            leases.extend(process.run(|_| delivery.start()).unwrap());
        }
        if leases.iter().any(|lease| lease.id().as_str() == "poison") {
            *poison_starts += 1;
            drop((leases, consumer, process));
            return true;
        }
        for lease in leases {
            assert_eq!(commit(&process, lease, "done"), Settlement::Accepted);
        }
    }
    false
}

fn poison_dies_after_exactly_its_starts_and_its_neighbours_live(site: &Site) {
    let operator = site.process();
    operator.enqueue(&["a", "poison", "b", "c"]);
    let mut poison_starts = 0;
    while run_a_worker_until_idle(site, &mut poison_starts) {}
    assert_eq!(poison_starts, quick().max_starts);

    let mut done = operator.done();
    done.sort();
    // The crash that all shared costs each neighbour one start; no other does.
    let neighbour = |id: &str| (id.to_owned(), "done".to_owned(), 2);
    assert_eq!(done, ["a", "b", "c"].map(neighbour));
    let letters =
        operator.run(|queue| async move { queue.dead_letters(Position::START, 10).await }).unwrap();
    let [letter] = letters.try_into().unwrap();
    assert_eq!((letter.item.id.as_str(), &letter.item.payload[..]), ("poison", &b"work"[..]));
    assert_eq!(letter.death.attempts.len(), quick().max_starts as usize);
    assert!(letter.death.attempts.iter().all(|a| a.worker.starts_with("worker.")));
    let dead = operator.results().into_iter().find(|r| r.item.as_str() == "poison").unwrap();
    assert_eq!(dead.outcome, Outcome::Dead(letter.death));

    // Requeued, with the fault mended, it is as good as new.
    let requeued =
        operator.run(|queue| async move { queue.requeue(&ids(&["poison", "a", "none"])).await });
    assert_eq!(requeued.unwrap(), 1);
    let mut consumer = operator.consumer("mended");
    let lease = operator.start_next(&mut consumer);
    assert_eq!((lease.id().as_str(), lease.attempt()), ("poison", 1));
    assert_eq!(commit(&operator, lease, "mended"), Settlement::Accepted);
    assert_eq!(operator.outstanding(), 0);
}

fn a_suspect_runs_alone(site: &Site) {
    let (victim, worker) = (site.frozen_process(), site.process());
    worker.enqueue(&["suspect"]);
    let mut consumer = victim.consumer("victim");
    let lost = victim.start_next(&mut consumer);
    drop((lost, consumer, victim));

    worker.enqueue(&["in hand"]);
    let mut consumer = worker.consumer("worker");
    let busy = worker.run(async |_| {
        // New work comes first: the suspect's lease is not over yet.
        let mut batch = consumer.lease(1, PATIENCE).await.unwrap();
        batch.pop().unwrap().start().await.unwrap().unwrap()
    });
    let in_hand = busy.id().as_str() == "in hand";
    assert!(in_hand, "this machine stood still for longer than the lease");
    let pause = quick().lease * 3;
    assert!(worker.run(|_| consumer.lease(1, pause)).unwrap().is_empty(), "hands are not empty");
    commit(&worker, busy, "done");
    let suspect = worker.start_next(&mut consumer);
    assert_eq!((suspect.id().as_str(), suspect.attempt()), ("suspect", 2));
    worker.enqueue(&["later"]);
    let pause = Duration::from_millis(300);
    assert!(worker.run(|_| consumer.lease(1, pause)).unwrap().is_empty(), "a suspect is running");
    commit(&worker, suspect, "innocent");
    assert_eq!(worker.start_next(&mut consumer).id().as_str(), "later");
}

fn shutdown_hands_over_at_once_and_returns_the_starts(site: &Site) {
    let (leaving, staying) = (site.process(), site.process());
    leaving.enqueue(&["started", "waiting"]);
    let mut consumer = leaving.consumer("leaving");
    let mut batch = leaving.run(|_| consumer.lease(2, PATIENCE)).unwrap();
    let waiting = batch.pop().unwrap();
    let lease = leaving.run(|_| batch.pop().unwrap().start()).unwrap().unwrap();
    shut_down(&leaving, consumer);
    assert!(lease.lost().is_cancelled());
    assert!(leaving.run(|_| waiting.start()).unwrap().is_none(), "it was handed back");

    let mut consumer = staying.consumer("staying");
    let first = staying.start_next(&mut consumer);
    let second = staying.start_next(&mut consumer);
    assert_eq!((first.id().as_str(), first.attempt()), ("started", 1));
    assert_eq!((second.id().as_str(), second.attempt()), ("waiting", 1));
    assert_eq!(commit(&leaving, lease, "late"), Settlement::Fenced);
    // One by one is the same.
    let released = staying.run(|_| first.release()).unwrap();
    assert_eq!(released, Settlement::Accepted);
    assert_eq!(staying.start_next(&mut consumer).attempt(), 1);
}

/// As released items they would come in the order in which they were enqueued, for ever.
fn what_is_put_off_comes_after_what_lies_behind_it_and_keeps_its_start(site: &Site) {
    let process = site.process();
    process.enqueue(&["stuck", "behind"]);
    let mut consumer = process.consumer("worker");
    let stuck = process.start_next(&mut consumer);
    let behind = process.start_next(&mut consumer);
    assert_eq!(process.run(|_| behind.release()).unwrap(), Settlement::Accepted);
    assert_eq!(process.run(|_| stuck.put_off()).unwrap(), Settlement::Accepted);

    let started = [process.start_next(&mut consumer), process.start_next(&mut consumer)];
    let started = started.each_ref().map(|lease| (lease.id().as_str(), lease.attempt()));
    assert_eq!(started, [("behind", 1), ("stuck", 1)]);
}

fn a_dropped_lease_is_handed_back_with_its_start_counted(site: &Site) {
    let process = site.process();
    process.enqueue(&["x"]);
    let mut consumer = process.consumer("careless");
    for attempt in 1..=unhurried().max_starts {
        assert_eq!(process.start_next(&mut consumer).attempt(), attempt);
    }
    let delivery = process.next(&mut consumer);
    assert!(process.run(|_| delivery.start()).unwrap().is_none());
    let [result] = process.results().try_into().unwrap();
    let Outcome::Dead(death) = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!(death.attempts.len(), 3);
    assert!(death.error.starts_with("dropped"), "{}", death.error);
}

fn a_start_is_told_the_trace_of_the_start_before(site: &Site) {
    let (doomed, worker) = (site.frozen_process(), site.process());
    worker.enqueue(&["x"]);
    let mut consumer = doomed.consumer("doomed");
    let delivery = doomed.next(&mut consumer);
    let first = doomed.run(|_| delivery.start_in("killed")).unwrap().unwrap();
    assert_eq!(first.trace_before(), None);
    drop((first, consumer, doomed));

    let mut consumer = worker.consumer("worker");
    let mut start = |trace: &str| {
        let delivery = worker.next(&mut consumer);
        worker.run(|_| delivery.start_in(trace)).unwrap().unwrap()
    };
    let second = start("failed");
    assert_eq!((second.attempt(), second.trace_before()), (2, Some("killed")));
    worker.run(|_| second.release()).unwrap();
    // What is not traced, or too long to be a context, is told nothing and forgets nothing.
    for context in ["", &"x".repeat(129)] {
        let untraced = start(context);
        assert_eq!(untraced.trace_before(), None);
        worker.run(|_| untraced.release()).unwrap();
    }
    let last = start("last");
    assert_eq!((last.attempt(), last.trace_before()), (2, Some("failed")));
    commit(&worker, last, "done");
}

fn failures_are_recorded_and_the_last_one_is_death(site: &Site) {
    let process = site.process();
    process.enqueue(&["x"]);
    let mut consumer = process.consumer("worker");
    let name = consumer.name().to_owned();
    for attempt in 1..=unhurried().max_starts {
        let lease = process.start_next(&mut consumer);
        let failed =
            process.run(|_| async move { lease.fail(&format!("try {attempt}: \"ü\"\n")).await });
        assert_eq!(failed.unwrap(), Settlement::Accepted);
    }
    let [result] = process.results().try_into().unwrap();
    let Outcome::Dead(death) = result.outcome else { panic!("{:?}", result.outcome) };
    assert_eq!(death.error, "try 3: \"ü\"\n");
    let reasons: Vec<_> = death.attempts.iter().map(|a| (&*a.worker, &a.reason[..5])).collect();
    assert_eq!(reasons, [(&*name, "try 1"), (&*name, "try 2"), (&*name, "try 3")]);
    // 2020 to 2100: it is a time of day, in milliseconds.
    assert!(
        death.attempts.iter().all(|a| (1_577_836_800_000..4_102_444_800_000).contains(&a.unix_ms))
    );
    assert_eq!(process.outstanding(), 0);
}

/// It was sent before the item was started, and arrives after it was given up.
fn a_heartbeat_that_comes_late_holds_nothing_back(site: &Site) {
    let process = site.process();
    process.enqueue(&["failed", "released"]);
    process.run(|queue| async move {
        let store = queue.store;
        let read = store.read("a", 2, PATIENCE).await.unwrap();
        let asked: Vec<_> =
            read.iter().map(|e| InHand { entry: e.position, token: None }).collect();
        for (nonce, entry) in asked.iter().map(|held| held.entry).enumerate() {
            let started = store.start("a", entry, nonce as u64, "").await.unwrap();
            let Started::Token { token, .. } = started else { panic!("{started:?}") };
            if nonce == 0 {
                store.fail(Claim { consumer: "a", entry, token }, "broken").await.unwrap();
            } else {
                let held = InHand { entry, token: Some(token) };
                let given = [Handback { held, returns_start: true, rests: false }];
                store.release("a", &given).await.unwrap();
            }
        }
        let standings = store.heartbeat("a", &asked).await.unwrap();
        assert_eq!(standings, [Standing::Fenced, Standing::Fenced]);
        for entry in &read {
            let taken = store.take("a").await.unwrap().map(|taken| taken.entry);
            assert_eq!(taken.as_ref(), Some(entry));
        }
    });
}

fn a_cancelled_item_is_gone_for_its_worker(site: &Site) {
    let process = site.process();
    process.enqueue(&["running", "untouched", "done"]);
    let mut consumer = process.consumer("worker");
    let running = process.start_next(&mut consumer);
    let cancel = |which: &'static [&'static str]| {
        process.run(|queue| async move { queue.cancel(&ids(which)).await.unwrap() })
    };
    assert_eq!(cancel(&["running", "untouched", "none"]), 2);
    assert_eq!(process.outstanding(), 1);
    let told = async { tokio::time::timeout(PATIENCE, running.lost().cancelled()).await };
    process.run(|_| told).expect("the next heartbeat tells");
    assert_eq!(commit(&process, running, "late"), Settlement::Gone);

    let done = process.start_next(&mut consumer);
    assert_eq!(done.id().as_str(), "done");
    commit(&process, done, "kept");
    assert_eq!(cancel(&["done"]), 0, "what is settled stays");
    assert_eq!(process.done(), [("done".to_owned(), "kept".to_owned(), 1)]);
    process.enqueue(&["running"]);
    assert_eq!(process.start_next(&mut consumer).attempt(), 1);
}

fn progress_is_a_result_of_whoever_holds_the_lease(site: &Site) {
    let process = site.process();
    process.enqueue(&["x"]);
    let mut consumer = process.consumer("worker");
    let lease = process.start_next(&mut consumer);
    assert!(process.run(|_| lease.progress(b"half")).unwrap());
    let [half] = process.results().try_into().unwrap();
    assert_eq!((half.item.as_str(), half.outcome), ("x", Outcome::Progress(b"half".to_vec())));
    // Acknowledging it leaves the item as it is.
    acknowledge_all(&process);
    let again = process.run(|queue| async move { queue.enqueue(vec![Item::new("x", "")]).await });
    assert_eq!(again.unwrap(), [Enqueued::Duplicate]);
    process.run(|queue| async move { queue.cancel(&ids(&["x"])).await }).unwrap();
    assert!(!process.run(|_| lease.progress(b"more")).unwrap());
    assert_eq!(process.results(), []);
}

fn bury(process: &Process, consumer: &mut Consumer, count: usize) {
    for _ in 0..count * unhurried().max_starts as usize {
        let lease = process.start_next(consumer);
        process.run(|_| async move { lease.fail("broken").await }).unwrap();
    }
}

fn a_requeued_letter_outlives_the_acknowledgement_of_its_death(site: &Site) {
    let process = site.process();
    process.enqueue(&["x"]);
    let mut consumer = process.consumer("worker");
    bury(&process, &mut consumer, 1);
    process.run(|queue| async move { queue.requeue(&ids(&["x"])).await }).unwrap();
    acknowledge_all(&process);
    let again = process.run(|queue| async move { queue.enqueue(vec![Item::new("x", "")]).await });
    assert_eq!(again.unwrap(), [Enqueued::Duplicate]);
    let lease = process.start_next(&mut consumer);
    assert_eq!((lease.payload(), lease.attempt()), (&b"work"[..], 1));
    commit(&process, lease, "done");
    assert_eq!(process.done(), [("x".to_owned(), "done".to_owned(), 1)]);
}

fn dead_letters_are_paged_and_stay_until_they_are_discarded(site: &Site) {
    let process = site.process();
    process.enqueue(&["a", "b", "c"]);
    let mut consumer = process.consumer("worker");
    bury(&process, &mut consumer, 3);
    acknowledge_all(&process);
    let page = |after, max| {
        process.run(|queue| async move { queue.dead_letters(after, max).await.unwrap() })
    };
    let first = page(Position::START, 2);
    let rest = page(first[1].position, 2);
    let mut found: Vec<&str> = first.iter().chain(&rest).map(|l| l.item.id.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c"]);
    // A letter keeps its id, also when its death was acknowledged, until it is discarded.
    let enqueue = || {
        process.run(|queue| async move { queue.enqueue(vec![Item::new("a", "")]).await.unwrap() })
    };
    assert_eq!(enqueue(), [Enqueued::Duplicate]);
    let cancelled = process.run(|queue| async move { queue.cancel(&ids(&["a", "b"])).await });
    assert_eq!((cancelled.unwrap(), page(Position::START, 10).len()), (0, 3));
    let discarded = process.run(|queue| async move { queue.discard(&ids(&["a", "b"])).await });
    assert_eq!(discarded.unwrap(), 2);
    assert_eq!(page(Position::START, 10).len(), 1);
    assert_eq!(enqueue(), [Enqueued::Added]);
}

fn its_depth_is_what_waits_since_when_and_what_was_given_up(site: &Site) {
    let process = site.process();
    let depth = || process.run(|queue| async move { queue.depth().await }).unwrap();
    assert_eq!(depth(), Depth::default());
    process.enqueue(&["poison"]);
    let mut consumer = process.consumer("worker");
    bury(&process, &mut consumer, 1);
    // A death is no takeover.
    assert_eq!(process.queue.takeovers(), 0);
    assert_eq!(depth(), Depth { dead_letters: 1, ..Depth::default() });
    process.enqueue(&["old"]);
    let waited = Duration::from_millis(30);
    std::thread::sleep(waited);
    process.enqueue(&["young"]);
    let Depth { outstanding, oldest_age, dead_letters, is_full } = depth();
    assert_eq!((outstanding, dead_letters, is_full), (2, 1, false));
    // The queue's clock is another than that of the pause, and counts milliseconds.
    assert!(oldest_age.unwrap() + Duration::from_millis(2) >= waited, "{oldest_age:?}");
}

fn who_works_on_what_is_known_until_it_is_settled(site: &Site) {
    let process = site.process();
    process.enqueue(&["begun", "waiting", "failing", "unread"]);
    let (mut busy, mut unlucky) = (process.consumer("busy"), process.consumer("unlucky"));
    let begun = process.start_next(&mut busy);
    let _waiting = process.next(&mut busy);
    let failing = process.start_next(&mut unlucky);
    let holding = || {
        let workers = process.run(|queue| async move { queue.workers(10).await.unwrap() });
        let mut holding: Vec<_> = workers
            .iter()
            .flat_map(|worker| worker.held.iter().map(move |held| (worker, held)))
            .map(|(worker, held)| {
                assert!(worker.silent < PATIENCE && held.silent < PATIENCE, "{held:?}");
                let name = worker.name().to_owned();
                (name, held.item.to_string(), held.starts, held.is_started)
            })
            .collect();
        holding.sort();
        holding
    };
    let of = |worker: &str, item: &str, starts: u32| {
        (worker.to_owned(), item.to_owned(), starts, starts > 0)
    };
    let all = [of("busy", "begun", 1), of("busy", "waiting", 0), of("unlucky", "failing", 1)];
    assert_eq!(holding(), all);
    let bounded = process.run(|queue| async move { queue.workers(2).await }).unwrap();
    assert_eq!(bounded.iter().map(|worker| worker.held.len()).sum::<usize>(), 2);
    // What failed rests in nobody's hands.
    process.run(|_| failing.fail("out of memory")).unwrap();
    commit(&process, begun, "done");
    assert_eq!(holding(), [of("busy", "waiting", 0)]);
}

fn leasing_waits_for_work_and_reading_for_results(site: &Site) {
    let process = site.process();
    let mut consumer = process.consumer("worker");
    let done = process.run(async |queue| {
        let producer = async {
            // Whether the others wait already makes no difference to the outcome.
            tokio::task::yield_now().await;
            queue.enqueue(vec![Item::new("x", *b"work")]).await.unwrap();
        };
        let worker = async {
            let mut batch = consumer.lease(1, PATIENCE).await.unwrap();
            let lease = batch.pop().unwrap().start().await.unwrap().unwrap();
            lease.commit(b"done".to_vec()).await.unwrap()
        };
        let reader = queue.results(Position::START, 10, PATIENCE);
        let (settlement, results, ()) = tokio::join!(worker, reader, producer);
        assert_eq!(settlement, Settlement::Accepted);
        results.unwrap()
    });
    assert_eq!(done.len(), 1);
    let settled = eventually("nothing is outstanding", async || {
        (process.queue.outstanding().await.unwrap() == 0).then_some(())
    });
    process.run(|_| settled);
}
