//! What the services of a cluster show at `/metrics`, held against what they say that they export.

use crate::processes::{RLAIF, write_job};
use rlaif_service::metrics::definitions::{self as defined, GROUPS};
use rlaif_service::metrics::{Definition, Kind};
use rlaif_testkit::{Cluster, Process, RedisServer, free_port};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// Nobody calls these workers directly and nobody is refused here: `crates/service/tests/metrics.rs` sees
/// what is measured then.
fn is_seen_elsewhere(metric: &Definition) -> bool {
    metric.name.starts_with("rlaif.batcher.") || *metric == defined::SERVER_SHED
}

/// What a service shows of a series, all its lines together.
#[derive(Default)]
struct Series {
    labels: BTreeSet<String>,
    total: f64,
}

/// Series by name.
type Shown = BTreeMap<String, Series>;

/// What is shown on a port; nothing while nobody listens there.
fn scrape(port: u16) -> Shown {
    let mut shown = Shown::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return shown };
    let request = "GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let mut answer = String::new();
    let asked = stream.write_all(request.as_bytes());
    if asked.and_then(|()| stream.read_to_string(&mut answer)).is_err() || answer.is_empty() {
        return shown;
    }
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let series = shown.entry(name.to_owned()).or_default();
        series.total += value.parse::<f64>().unwrap();
        // No value of ours has a comma or an equals sign.
        let keys = labels.split(',').filter_map(|label| label.split_once('='));
        series.labels.extend(keys.map(|(key, _)| key.to_owned()));
    }
    shown
}

/// Looks at a coordinator until it shows what is looked for.
fn until(what: &str, port: u16, found: impl Fn(&Shown) -> bool) {
    let started = Instant::now();
    while !found(&scrape(port)) {
        assert!(started.elapsed() < PATIENCE, "{what} was not shown");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Metrics of a service.
fn metrics_of(service: &str) -> impl Iterator<Item = &'static Definition> {
    let groups = GROUPS.iter().filter(move |group| group.services.contains(&service));
    groups.flat_map(|group| group.metrics.iter().copied())
}

/// Everything that is shown is defined, with its labels.
fn check_defined(service: &str, shown: &Shown) {
    let service_metrics: Vec<&Definition> = metrics_of(service).collect();
    for (series, Series { labels, .. }) in shown.iter().filter(|(name, _)| *name != "target_info") {
        let metric = service_metrics.iter().find(|metric| metric.series().contains(series));
        let metric = metric.unwrap_or_else(|| panic!("{service} shows {series}: undefined"));
        let mut defined: BTreeSet<String> = metric.labels().collect();
        if metric.kind == Kind::Histogram && series.ends_with("_bucket") {
            defined.insert("le".to_owned());
        }
        assert!(labels.is_subset(&defined), "{service} shows {series} with {labels:?}");
    }
}

/// What of these metrics is not shown, or not with all its labels.
fn missing(metrics: &[&Definition], shown: &Shown) -> Vec<String> {
    let is_there = |metric: &Definition| {
        let labels: BTreeSet<String> = metric.labels().collect();
        metric
            .series()
            .iter()
            .all(|series| shown.get(series).is_some_and(|s| s.labels.is_superset(&labels)))
    };
    let missing = metrics.iter().filter(|m| !is_seen_elsewhere(m) && !is_there(m));
    missing.map(|metric| metric.prometheus_name()).collect()
}

#[test]
fn services_export_what_they_define_and_nothing_else_and_of_jobs_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 16);
    let job = dir.path().join("job.toml");
    let text = std::fs::read_to_string(&job).unwrap();
    let template = "\"sentiment/compare\"";
    let budget = "price = { input_per_1k = 0.5 }, max_cost = 250000, max_tokens = 500000000";
    std::fs::write(&job, text.replace(template, &format!("{template}, {budget}"))).unwrap();

    let at = |port: u16| format!("127.0.0.1:{port}");
    let of_coordinator = free_port();
    let address = at(of_coordinator);
    let settings = [("RLAIF__METRICS__ADDRESS", address.as_str())];
    let folder = dir.path().join("measured");
    let mut cluster = Cluster::start(RLAIF, &folder, RedisServer::start(), &settings);
    let start = |cluster: &Cluster, kind: &'static str| {
        let port = free_port();
        let mut command = cluster.worker(kind, kind);
        (kind, port, Process::spawn(command.env("RLAIF__METRICS__ADDRESS", at(port))))
    };
    let mut workers =
        vec![start(&cluster, "rollout"), start(&cluster, "labeler"), start(&cluster, "learner")];
    let id = cluster.submit(&job);

    // Nobody trains the reward model yet, so the job waits with all its labels.
    let judged = |shown: &Shown| shown.get("rlaif_job_judgements").map_or(0.0, |s| s.total);
    until("every label", of_coordinator, |shown| judged(shown) == 160.0);
    cluster.stop_coordinator();
    cluster.start_coordinator();
    until("every label again", of_coordinator, |shown| judged(shown) == 160.0);

    workers.push(start(&cluster, "reward"));
    cluster.manifest(&id);
    let promised: Vec<&Definition> = metrics_of("rlaif-coordinator").collect();
    // Queues are looked at every few seconds; and the last scrape says what is missing.
    let started = Instant::now();
    loop {
        let shown = scrape(of_coordinator);
        check_defined("rlaif-coordinator", &shown);
        let missing = missing(&promised, &shown);
        if missing.is_empty() {
            let budget =
                ["rlaif_job_max_cost", "rlaif_job_max_tokens"].map(|name| shown[name].total);
            assert_eq!(budget, [250_000.0, 500_000_000.0]);
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the coordinator does not show {missing:?}");
        std::thread::sleep(Duration::from_millis(100));
    }

    // Not every kind of worker reads tokens, so what one does not show another must.
    let mut together = Shown::new();
    for (kind, port, _running) in &workers {
        let (service, shown) = (format!("rlaif-{kind}"), scrape(*port));
        check_defined(&service, &shown);
        for (name, series) in shown {
            together.entry(name).or_default().labels.extend(series.labels);
        }
    }
    // Nobody calls them.
    let calls = [defined::RPC_SERVER_CALL_DURATION, defined::SERVER_ACTIVE];
    let promised: Vec<&Definition> =
        metrics_of("rlaif-labeler").filter(|metric| !calls.contains(metric)).collect();
    assert_eq!(missing(&promised, &together), Vec::<String>::new());
}
