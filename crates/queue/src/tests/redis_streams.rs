//! What only a real Redis can show: restarts, what its own accounting hides, TLS and ACLs.

use super::site::{PATIENCE, Process, Site, quick, unhurried};
use crate::redis_streams::Address;
use crate::{Denial, Enqueued, Error, Item, Options, Position, Queue, Settlement, Warning};
use redis::Value;
use rlaif_testkit::{RedisServer, eventually, free_port};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

fn server(site: &mut Site) -> &mut RedisServer {
    match site {
        Site::Redis { server, .. } => server,
        Site::InMemory(_) => unreachable!("these tests use Redis"),
    }
}

fn done_ids(process: &Process) -> Vec<String> {
    process.done().into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn a_killed_redis_loses_nothing_acknowledged_and_its_consumers_go_on() {
    let mut site = Site::durable_redis(quick());
    let (worker, producer) = (site.process(), site.process());
    let mut consumer = worker.consumer("worker");
    producer.enqueue(&["held", "a", "b"]);
    let held = worker.start_next(&mut consumer);
    let lease = worker.start_next(&mut consumer);
    assert_eq!(worker.run(|_| lease.commit(b"before".to_vec())).unwrap(), Settlement::Accepted);

    for round in 0..3 {
        server(&mut site).kill();
        // What is asked meanwhile waits; nobody is created again.
        let name = format!("during {round}");
        let waiting = producer.queue.clone();
        let asked = std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async { waiting.enqueue(vec![Item::new(name, "")]).await })
        });
        server(&mut site).restart();
        asked.join().unwrap().unwrap();
    }
    assert_eq!(worker.run(|_| held.commit(b"across".to_vec())).unwrap(), Settlement::Accepted);
    for _ in 0..4 {
        let lease = worker.start_next(&mut consumer);
        assert_eq!(lease.attempt(), 1);
        worker.run(|_| lease.commit(b"after".to_vec())).unwrap();
    }
    let mut done = done_ids(&producer);
    done.sort();
    assert_eq!(done, ["a", "b", "during 0", "during 1", "during 2", "held"]);
    assert_eq!(producer.outstanding(), 0);
}

#[test]
fn an_outage_longer_than_the_lease_takes_no_lease_from_the_living() {
    let mut site = Site::durable_redis(quick());
    let (worker, rival) = (site.process(), site.process());
    worker.enqueue(&["x"]);
    let mut consumer = worker.consumer("worker");
    let lease = worker.start_next(&mut consumer);
    server(&mut site).kill();
    std::thread::sleep(quick().lease * 2);
    server(&mut site).restart();
    let mut other = rival.consumer("rival");
    assert!(rival.run(|_| other.lease(1, quick().lease * 2)).unwrap().is_empty());
    assert_eq!(worker.run(|_| lease.commit(b"kept".to_vec())).unwrap(), Settlement::Accepted);
}

#[test]
fn redis_that_stays_away_is_an_error_and_not_a_hang() {
    let mut site = Site::redis(Options { patience: Duration::from_millis(200), ..quick() });
    let process = site.process();
    let mut consumer = process.consumer("worker");
    server(&mut site).kill();
    let leased = process.run(|_| consumer.lease(1, Duration::ZERO));
    assert!(matches!(leased, Err(Error::Unavailable { .. })));
    let asked = process.run(|queue| async move { queue.outstanding().await });
    assert!(matches!(asked, Err(Error::Unavailable { .. })));
}

fn acknowledge_all(process: &Process) {
    let last = process.results().last().expect("a result").position;
    process.run(|queue| async move { queue.acknowledge(last).await }).unwrap();
}

fn is_full(process: &Process) -> bool {
    process.run(|queue| async move { queue.depth().await }).unwrap().is_full
}

/// Redis then refuses what may grow. Settling is what makes room, so that would be for good.
#[test]
fn a_full_redis_takes_no_items_and_lets_those_it_has_be_settled() {
    let patience = Duration::from_secs(2);
    let mut site = Site::redis(Options { patience, ..unhurried() });
    server(&mut site).configure("maxmemory", "16mb");
    let producer = site.process();
    let offer = |which: Range<usize>| {
        let items = which.map(|i| Item::new(format!("item {i}"), vec![b'x'; 60_000])).collect();
        producer.run(|queue| async move { queue.enqueue(items).await })
    };
    let Err(Error::Full { accepted, .. }) = offer(0..400) else {
        panic!("24 MB fit into four fifths of 16")
    };
    assert!((100..300).contains(&accepted), "{accepted}");
    assert_eq!(offer(0..1).unwrap(), [Enqueued::Duplicate]);

    // Others take what room is left.
    let mut others = server(&mut site).connection();
    redis::cmd("SETRANGE").arg("filler").arg(6_000_000).arg("x").exec(&mut others).unwrap();
    let refused = redis::cmd("SET").arg("more").arg("x").exec(&mut others).unwrap_err();
    assert_eq!(refused.code(), Some("OOM"));
    assert!(is_full(&producer));

    // A worker that starts only now finds its queue, and what it does counts.
    let worker = site.process();
    let mut consumer = worker.consumer("worker");
    let lease = worker.start_next(&mut consumer);
    assert!(!worker.run(|_| lease.progress(b"half")).unwrap(), "progress can wait");
    let result = vec![b'y'; 60_000];
    assert_eq!(worker.run(|_| lease.commit(result)).unwrap(), Settlement::Accepted);
    // Results could outgrow memory where nobody takes them in.
    let delivery = worker.next(&mut consumer);
    assert!(matches!(worker.run(|_| delivery.start()), Err(Error::Unwritable { .. })));
    acknowledge_all(&producer);
    let lease = worker.start_next(&mut consumer);
    assert_eq!(worker.run(|_| lease.fail("broken")).unwrap(), Settlement::Accepted);

    while producer.outstanding() > 0 {
        let lease = worker.start_next(&mut consumer);
        assert_eq!(worker.run(|_| lease.commit(Vec::new())).unwrap(), Settlement::Accepted);
        acknowledge_all(&producer);
    }
    assert!(!is_full(&producer));
    assert_eq!(offer(0..1).unwrap(), [Enqueued::Added]);
}

#[test]
fn a_redis_that_cannot_write_to_its_disk_is_waited_for() {
    let patience = Duration::from_millis(500);
    let mut site = Site::redis(Options { patience, ..unhurried() });
    let process = site.process();
    let offer = || {
        let items = vec![Item::new("x", "")];
        process.run(|queue| async move { queue.enqueue(items).await })
    };
    let mut operator = server(&mut site).connection();
    let folder: Vec<String> =
        redis::cmd("CONFIG").arg("GET").arg("dir").query(&mut operator).unwrap();
    // A snapshot cannot take the name of a folder that is not empty.
    std::fs::create_dir_all(Path::new(&folder[1]).join("dump.rdb").join("in the way")).unwrap();
    server(&mut site).configure("save", "3600 1");
    redis::cmd("BGSAVE").exec(&mut operator).unwrap();
    let mut failed = || {
        let info: String = redis::cmd("INFO").arg("persistence").query(&mut operator).unwrap();
        info.contains("rdb_last_bgsave_status:err").then_some(())
    };
    Runtime::new().unwrap().block_on(eventually("the snapshot fails", async || failed()));

    assert!(matches!(offer(), Err(Error::Full { accepted: 0, .. })));
    let depth = process.run(|queue| async move { queue.depth().await });
    assert!(matches!(depth, Err(Error::Unwritable { .. })), "{depth:?}");
    // What is read is answered.
    assert_eq!(process.outstanding(), 0);
    server(&mut site).configure("stop-writes-on-bgsave-error", "no");
    assert_eq!(offer().unwrap(), [Enqueued::Added]);
}

/// Deleting an undelivered entry makes the group's lag unknown, which autoscalers read as no work.
#[test]
fn outstanding_is_right_where_redis_knows_no_lag() {
    let mut site = Site::redis(unhurried());
    let process = site.process();
    process.enqueue(&["a", "b", "c"]);
    let mut consumer = process.consumer("worker");
    let first = process.start_next(&mut consumer);
    process.run(|queue| async move { queue.cancel(&["b".into()]).await }).unwrap();

    let mut connection = server(&mut site).connection();
    let groups: Value =
        redis::cmd("XINFO").arg("GROUPS").arg("{rlaif:test}:work").query(&mut connection).unwrap();
    let shown = format!("{groups:?}");
    assert!(shown.contains("bulk-string('\"lag\"'), nil"), "redis counts better now: {shown}");
    assert_eq!(process.outstanding(), 2);
    process.run(|_| first.commit(Vec::new())).unwrap();
    assert_eq!(process.outstanding(), 1);
    assert_eq!(process.next(&mut consumer).id().as_str(), "c");
}

#[test]
fn nothing_stays_behind_when_all_is_settled_and_acknowledged() {
    let mut site = Site::redis(quick());
    let process = site.process();
    process.enqueue(&["done", "cancelled", "dead", "lost"]);
    let mut consumer = process.consumer("worker");
    process.run(|queue| async move { queue.cancel(&["cancelled".into()]).await }).unwrap();
    let victim = site.frozen_process();
    let mut doomed = victim.consumer("victim");
    let first = victim.start_next(&mut doomed);
    drop((first, doomed, victim));
    while process.outstanding() > 0 {
        let Some(lease) = process.run(|_| async {
            let delivery = consumer.lease(1, PATIENCE).await.unwrap().pop().unwrap();
            delivery.start().await.unwrap()
        }) else {
            continue;
        };
        let settled = async {
            match lease.id().as_str() {
                "dead" => lease.fail("broken").await,
                _ => lease.commit(Vec::new()).await,
            }
        };
        process.run(|_| settled).unwrap();
    }
    process.run(|queue| async move {
        let last = queue.results(Position::START, 10, Duration::ZERO).await.unwrap().pop();
        queue.acknowledge(last.unwrap().position).await.unwrap();
        assert_eq!(queue.discard(&["dead".into()]).await.unwrap(), 1);
    });
    process.run(|_| consumer.shutdown());

    let mut connection = server(&mut site).connection();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    keys.sort();
    assert_eq!(keys, ["{rlaif:test}:dead", "{rlaif:test}:results", "{rlaif:test}:work"]);
    for key in keys {
        let length: u64 = redis::cmd("XLEN").arg(&key).query(&mut connection).unwrap();
        assert_eq!(length, 0, "{key}");
    }
    let mut list = redis::cmd("XINFO");
    let consumers: Vec<Value> = list
        .arg("CONSUMERS")
        .arg("{rlaif:test}:work")
        .arg("workers")
        .query(&mut connection)
        .unwrap();
    assert_eq!(consumers, [], "consumers that left or vanished are forgotten");
}

#[test]
fn wiped_data_is_an_empty_queue_and_not_a_broken_one() {
    let mut site = Site::redis(quick());
    let process = site.process();
    let mut consumer = process.consumer("worker");
    process.enqueue(&["x"]);
    let lease = process.start_next(&mut consumer);
    redis::cmd("FLUSHALL").exec(&mut server(&mut site).connection()).unwrap();
    assert_eq!(process.run(|_| lease.commit(Vec::new())).unwrap(), Settlement::Gone);
    process.enqueue(&["x"]);
    assert_eq!(process.start_next(&mut consumer).attempt(), 1);
}

/// On one connection, every command would wait behind a blocking read.
#[test]
fn a_waiting_read_has_a_connection_of_its_own() {
    let mut site = Site::redis(unhurried());
    let mut watcher = server(&mut site).connection();
    let mut connection_of = |command: &str| {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut watcher).unwrap();
        let last = format!(" cmd={command} ");
        let client = clients.lines().find(|client| client.contains(&last));
        client.map(|client| client.split_once(' ').unwrap().0.to_owned())
    };
    site.process().run(async |queue| {
        let wait = Duration::from_secs(3600);
        let reader = tokio::spawn({
            let queue = queue.clone();
            async move { queue.results(Position::START, 1, wait).await }
        });
        let waiting = eventually("a read waits", async || connection_of("xread")).await;
        queue.outstanding().await.unwrap();
        let asking = connection_of("xlen").expect("the connection that was just used");
        assert_ne!(waiting, asking);
        reader.abort();
    });
}

#[test]
fn a_redis_that_may_forget_is_warned_of() {
    let good = Site::redis(quick());
    assert_eq!(good.process().run(|queue| async move { queue.probe().await }).unwrap(), []);

    let options = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let server = RedisServer::start_with(&options);
    let warnings = Runtime::new().unwrap().block_on(async {
        let queue = Queue::redis("test", &Address::new(server.url()), quick()).await.unwrap();
        queue.probe().await.unwrap()
    });
    let evicts = Warning::Evicts { policy: "allkeys-lru".to_owned() };
    assert_eq!(warnings, [evicts, Warning::NotDurable]);
}

fn one_item_there_and_back(address: &Address) -> Result<(), Error> {
    Runtime::new().unwrap().block_on(async {
        let queue = Queue::redis("test", address, quick()).await?;
        queue.enqueue(vec![Item::new("x", "")]).await?;
        let mut consumer = queue.consumer("worker");
        let delivery = consumer.lease(1, PATIENCE).await?.pop().expect("a delivery");
        let lease = delivery.start().await?.expect("a lease");
        assert_eq!(lease.fail("once").await?, Settlement::Accepted);
        let delivery = consumer.lease(1, PATIENCE).await?.pop().expect("a delivery");
        let lease = delivery.start().await?.expect("a lease");
        assert_eq!(lease.commit(Vec::new()).await?, Settlement::Accepted);
        consumer.shutdown().await;
        let results = queue.results(Position::START, 1, Duration::ZERO).await?;
        queue.acknowledge(results[0].position).await
    })
}

#[test]
fn a_user_with_only_the_queues_rights_suffices() {
    let port = free_port().to_string();
    let rules = crate::acl_rules();
    let mut options = vec!["--port", &port, "--appendfsync", "always"];
    options.extend(["--user", "worker", "on", ">secret"]);
    options.extend(rules.iter().map(String::as_str));
    let server = RedisServer::start_with(&options);
    let url = format!("redis://worker:secret@127.0.0.1:{port}/");
    one_item_there_and_back(&Address::new(&url)).unwrap();
    // CONFIG is none of them, so whether it syncs late is not told.
    let warnings = warnings_at(&Address::new(&url));
    assert_eq!(warnings, [Warning::Unknown { field: "appendfsync" }]);
    let found: Vec<String> =
        redis::cmd("KEYS").arg("*:doctor").query(&mut server.connection()).unwrap();
    assert_eq!(found, Vec::<String>::new(), "the checkup left something behind");
}

/// As soon as it is asked, by whoever looks it over and by whoever uses it: waiting would not help.
#[test]
fn a_redis_that_lets_us_in_only_with_another_password_says_so() {
    let server = RedisServer::start();
    server.configure("requirepass", "secret");
    let at = |rest: &str| Address::new(format!("{}{rest}", server.url()));
    for (address, denial) in [
        (at(""), Denial::NoPassword),
        (at("?pass=mistyped"), Denial::WrongPassword),
        (at("?user=nobody&pass=secret"), Denial::WrongPassword),
        (at("?protocol=resp3"), Denial::NoPassword),
        (at("?protocol=resp3&pass=mistyped"), Denial::WrongPassword),
    ] {
        let used = one_item_there_and_back(&address);
        assert!(matches!(&used, Err(Error::Denied(why)) if *why == denial), "{used:?}");
        let looked = crate::checkup(&address, &["test"], PATIENCE);
        let looked = Runtime::new().unwrap().block_on(looked);
        assert!(matches!(&looked, Err(Error::Denied(why)) if *why == denial), "{looked:?}");
    }
    one_item_there_and_back(&at("?pass=secret")).unwrap();
}

fn warnings_at(address: &Address) -> Vec<Warning> {
    let looked = crate::checkup(address, &["test"], PATIENCE);
    Runtime::new().unwrap().block_on(looked).unwrap().warnings
}

#[test]
fn each_right_that_a_user_lacks_is_found_before_it_is_needed() {
    let port = free_port().to_string();
    let rules = crate::acl_rules();
    let no_rights = ["resetchannels", "-@all", "+@connection", "-@dangerous"];
    for lacking in rules.iter().filter(|rule| !no_rights.contains(&rule.as_str())) {
        let mut options = vec!["--port", &port, "--user", "worker", "on", ">secret"];
        options.extend(rules.iter().filter(|rule| *rule != lacking).map(String::as_str));
        let _server = RedisServer::start_with(&options);
        let warnings =
            warnings_at(&Address::new(format!("redis://worker:secret@127.0.0.1:{port}/")));
        let expected = Warning::Forbids { rules: vec![lacking.clone()] };
        assert!(warnings.contains(&expected), "without {lacking}: {warnings:?}");
    }
}

#[test]
fn a_redis_is_looked_over_with_its_version_its_clock_and_how_it_syncs() {
    let server = RedisServer::start_with(&["--appendfsync", "everysec"]);
    let address = Address::new(server.url());
    let looked = crate::checkup(&address, &["test"], PATIENCE);
    let looked = Runtime::new().unwrap().block_on(looked).unwrap();
    assert_eq!(looked.warnings, [Warning::SyncsLate { policy: "everysec".to_owned() }]);
    assert!(looked.version.unwrap().starts_with(|c: char| c.is_ascii_digit()));
    // One machine has one clock, which the question's time blurs.
    assert!(
        looked.clock_ahead_s.abs() <= looked.round_trip.as_secs_f64(),
        "{}",
        looked.clock_ahead_s
    );
}

#[test]
fn tls_is_spoken_and_an_unknown_server_refused() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
    let (port, ca) = (free_port().to_string(), certificate.display().to_string());
    let key = key.display().to_string();
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &ca,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}/");
    one_item_there_and_back(&Address { url: url.clone(), ca_file: Some(certificate) }).unwrap();

    let impatient = Options { patience: Duration::from_millis(500), ..quick() };
    let stranger = Runtime::new()
        .unwrap()
        .block_on(async { Queue::redis("test", &Address::new(url), impatient).await.err() });
    assert!(matches!(stranger, Some(Error::Unavailable { .. })), "{stranger:?}");
}
