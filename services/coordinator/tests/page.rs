//! The live page as a browser asks for it: over HTTP on loopback, with queues in memory and workers that
//! need no model. What a real browser makes of it is tested by `tests/page/check`.

mod support;

use rlaif_coordinator::service::{Config, Service};
use rlaif_job::{JudgeConfig, WorkerKind};
use rlaif_proto::coordinator::v1::JobState;
use rlaif_service::config::Problems;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use support::*;

/// A coordinator whose job has gone through every stage.
async fn finished(cluster: &Cluster) -> (Running, String) {
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("shown", false), "key").await;
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;
    (running, id)
}

#[tokio::test]
async fn a_job_is_shown_with_all_it_has_made() {
    let cluster = Cluster::new();
    let (running, id) = finished(&cluster).await;
    let browser = running.browser();

    let listed = browser.data("/api/jobs").await;
    assert_eq!((&listed["jobs"][0]["id"], &listed["next"]), (&json!(id), &json!("")));
    let job = browser.data(&format!("/api/jobs/{id}")).await;
    assert_eq!((&job["state"], &job["policy"]), (&json!("succeeded"), &json!("m")));
    assert_eq!((&job["template"], &job["reward"]), (&json!("sentiment/compare"), &json!("model")));
    assert_eq!(job["judge"], Value::Null, "the labeler judges");
    // Five answers that read 20 tokens each, at 0.5 for a thousand.
    assert_eq!((&job["prompt_tokens"], &job["amount"]), (&json!(100), &json!(0.05)));
    assert_eq!((&job["completion_tokens"], &job["max_cost"]), (&json!(0), &json!(null)));
    let stages = job["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["done"] == stage["total"]), "{stages:?}");

    let of_job = async |what: &str| browser.data(&format!("/api/jobs/{id}/{what}")).await;
    let labels = of_job("labels").await;
    assert_eq!(labels["records"].as_array().unwrap().len(), PAIRS);
    let order = &labels["records"][0]["comparison"]["ba"];
    assert_eq!(order["prefers_first"], 0.5);
    let metrics = of_job("metrics?after=0").await;
    let kl: Vec<_> =
        metrics["records"].as_array().unwrap().iter().map(|m| &m["objective/kl"]).collect();
    assert_eq!(kl, [&Value::Null, &Value::Null, &json!(0.125), &json!(0.125)]);
    let quality = of_job("quality").await;
    // One order is tied for each pair.
    let position = &quality["labels"]["position"];
    assert_eq!((&position["pairs"], &position["same_position"]), (&json!(PAIRS), &json!(0)));
    assert_eq!(quality["labels"]["prompt_tokens"], PAIRS * 20);
    assert_eq!(quality["reward"]["quality"]["bins"].as_array().unwrap().len(), 2);
    assert_eq!(quality["evaluate"][0]["win_rate"], 1.0);
    let last = of_job("samples").await;
    assert_eq!((&last["last_step"], &last["records"][0]["step"]), (&json!(2), &json!(2)));
    let first = of_job("samples?step=1").await;
    let steps: Vec<_> = first["records"].as_array().unwrap().iter().map(|r| &r["step"]).collect();
    assert_eq!(steps, [&json!(1); 8]);
    let contests = of_job("evaluation?after=0").await;
    assert_eq!(contests["records"][0]["verdicts"]["sentiment/compare"]["outcome"], 1.0);

    let report = browser.get(&format!("/api/jobs/{id}/report")).await;
    let on_disk = std::fs::read_to_string(cluster.run_folder(&id).path("report.html")).unwrap();
    assert_eq!(report.body, on_disk);
    assert!(report.header("content-disposition").unwrap().starts_with("attachment"));
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_jobs_own_judge_is_shown_beside_its_labeler() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut sent = submission("judged", true);
    sent.job.evaluate.judge = Some(JudgeConfig { model: "judge".into(), price: None });
    let id = submit(&mut running.client(), &sent, "key").await;
    let job = running.browser().data(&format!("/api/jobs/{id}")).await;
    assert_eq!((&job["labeler"], &job["judge"]), (&json!("m"), &json!("judge")));
    cluster.stop(running).await;
}

#[tokio::test]
async fn labels_are_read_on_and_back_by_pages_that_have_a_bound() {
    let cluster = Cluster::new();
    let (running, id) = finished(&cluster).await;
    let browser = running.browser();
    let page = async |query: &str| browser.data(&format!("/api/jobs/{id}/labels?{query}")).await;
    let ids = |stretch: &Value| -> Vec<String> {
        let records = stretch["records"].as_array().unwrap().iter();
        records.map(|record| record["pair"]["response_a"].as_str().unwrap().to_owned()).collect()
    };
    let expected: Vec<String> = (0..PAIRS).map(|number| format!("{number} is nice.")).collect();
    let (first, last) = (page("after=0&max=3").await, page("max=3").await);
    assert_eq!((ids(&first), ids(&last)), (expected[..3].to_vec(), expected[5..].to_vec()));
    let rest = page(&format!("after={}", first["end"])).await;
    assert_eq!(ids(&rest), expected[3..]);
    let before = page(&format!("before={}", last["begin"])).await;
    assert_eq!(ids(&before), expected[..5]);
    // Nothing follows the last, and its place stays what it is.
    assert_eq!(page(&format!("after={}", rest["end"])).await["end"], rest["end"]);
    assert_eq!(ids(&page("after=0&max=1000000").await).len(), PAIRS);
    assert_eq!(ids(&page("after=0&max=0").await).len(), 1);
    for (query, status) in [("after=7", 400), ("after=-1", 400), ("after=x", 400)] {
        let refused = browser.get(&format!("/api/jobs/{id}/labels?{query}")).await;
        assert_eq!(refused.status, status, "{query}: {refused:?}");
    }
    for path in ["labels", "metrics", "samples", "quality", "evaluation", "report", "dead-letters"]
    {
        let unknown = browser.get(&format!("/api/jobs/..%2f..%2fetc/{path}")).await;
        assert_eq!(unknown.status, 404, "{path}: {unknown:?}");
    }
    cluster.stop(running).await;
}

#[tokio::test]
async fn changes_are_told_as_they_happen_and_a_stream_goes_on_after_a_restart() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let mut events = running.browser().events(None).await;
    let (_, name, hello) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &hello), ("hello", &json!({"changed": true})));

    let id = submit(&mut running.client(), &submission("told", false), "key").await;
    let labelled = |event: &Value| {
        let stages = event["job"]["stages"].as_array().unwrap();
        stages.iter().any(|stage| stage["stage"] == "label" && stage["done"] == PAIRS)
    };
    // Checks, fine-tuning, pairs and labels.
    cluster.workers.allow(7);
    let last = loop {
        let (at, name, event) = events.next().await.expect("the stream goes on");
        assert_eq!((name.as_str(), &event["job"]["id"]), ("job", &json!(id)));
        if labelled(&event) {
            break at;
        }
    };
    cluster.stop(running).await;
    while events.next().await.is_some() {}

    let running = cluster.coordinator().await;
    let browser = running.browser();
    let mut events = browser.events(Some(&last)).await;
    let (now, _, hello) = events.next().await.unwrap();
    assert_eq!(hello, json!({"changed": true}), "a restart may have changed anything");
    assert!(now.parse::<u64>().unwrap() > last.parse::<u64>().unwrap());
    let (_, _, hello) = browser.events(Some(&now)).await.next().await.unwrap();
    assert_eq!(hello, json!({"changed": false}));

    cluster.workers.allow_all();
    let mut measured = false;
    loop {
        let (_, _, event) = events.next().await.expect("the stream goes on");
        measured |= event["measured"] == true;
        if event["job"]["state"] == "succeeded" {
            break;
        }
    }
    assert!(measured, "steps were measured");
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_worker_is_shown_with_what_it_holds_and_what_it_has_done() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let id = submit(&mut running.client(), &submission("crewed", false), "key").await;
    let mut consumer = cluster.queues.of(WorkerKind::Labeler).consumer("slow");
    let delivery = consumer.lease(1, Duration::from_secs(30)).await.unwrap().remove(0);
    let lease = delivery.start().await.unwrap().unwrap();
    let labelers = async || {
        let kinds = running.browser().data("/api/workers").await;
        kinds.as_array().unwrap().iter().find(|kind| kind["kind"] == "labeler").unwrap().clone()
    };
    let seen = labelers().await;
    assert_eq!((&seen["outstanding"], &seen["trouble"]), (&json!(1), &Value::Null));
    let worker = &seen["workers"][0];
    assert_eq!((&worker["name"], &worker["items"]), (&json!("slow"), &json!(0)));
    let held = &worker["held"][0];
    let expected = (&json!(id), &json!("0-check/labeler"), &json!(1), &json!(true));
    assert_eq!((&held["job"], &held["task"], &held["starts"], &held["is_started"]), expected);

    lease.release().await.unwrap();
    cluster.workers.allow_all();
    until(&mut running.client(), &id, JobState::Succeeded).await;
    let seen = labelers().await;
    let [worker] = seen["workers"].as_array().unwrap().as_slice() else { panic!("{seen}") };
    // A check, two chunks of four labels, and two of contests.
    assert_eq!((&worker["name"], &worker["items"]), (&json!("fake"), &json!(5)));
    assert_eq!((&worker["busy_seconds"], &worker["held"]), (&json!(2.5), &json!([])));
    // The first may be older where the machine is busy.
    let last_minute = worker["last_minute"].as_u64().unwrap();
    assert!((1..=5).contains(&last_minute), "{last_minute}");
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_job_is_steered_and_its_dead_letters_tried_again() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let (browser, mut client) = (running.browser(), running.client());
    let id = submit(&mut client, &submission("steered", false), "key").await;
    let of_job = |what: &str| format!("/api/jobs/{id}/{what}");
    let paused = browser.post(&of_job("pause"), "{}").await;
    assert_eq!((paused.status, &paused.json()["state"]), (200, &json!("paused")));
    let resumed = browser.post(&of_job("resume"), "{}").await;
    assert_eq!(resumed.json()["state"], "running");

    let task = "3-label/00000001";
    cluster.workers.play(&format!("{id}/{task}"), Trick::Fail);
    cluster.workers.allow_all();
    until(&mut client, &id, JobState::Failed).await;
    let letters = browser.data(&of_job("dead-letters")).await;
    let letter = &letters["dead_letters"][0];
    assert_eq!((&letter["id"], &letter["attempts"]), (&json!(task), &json!(3)));
    assert!(letter["item"].as_str().unwrap().contains("is nice"), "{letter}");
    let refused = browser.post(&of_job("resume"), "{}").await;
    assert_eq!(refused.status, 409);
    assert!(refused.json()["error"].as_str().unwrap().contains("given up"), "{refused:?}");
    let neither = browser.post(&of_job("dead-letters/requeue"), "{}").await;
    assert_eq!(neither.status, 400);

    cluster.workers.behave();
    let ids = json!({ "ids": [task] }).to_string();
    let requeued = browser.post(&of_job("dead-letters/requeue"), &ids).await;
    assert_eq!(requeued.json(), json!({"requeued": 1}));
    until(&mut client, &id, JobState::Succeeded).await;
    let late = browser.post(&of_job("cancel"), "{}").await;
    assert_eq!(late.status, 409);
    cluster.stop(running).await;
}

const LOOKING: [&str; 11] = [
    "/api/jobs",
    "/api/workers",
    "/api/events",
    "/api/jobs/any",
    "/api/jobs/any/labels",
    "/api/jobs/any/metrics",
    "/api/jobs/any/quality",
    "/api/jobs/any/samples",
    "/api/jobs/any/evaluation",
    "/api/jobs/any/report",
    "/api/jobs/any/dead-letters",
];
const STEERING: [&str; 5] = [
    "/api/jobs/any/pause",
    "/api/jobs/any/resume",
    "/api/jobs/any/cancel",
    "/api/jobs/any/dead-letters/requeue",
    "/api/jobs/any/delete",
];

/// What a browser gets by looking and by steering.
async fn statuses(browser: &Browser) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let (mut looking, mut steering) = (BTreeSet::new(), BTreeSet::new());
    // The stream of changes does not end by itself.
    for path in LOOKING.iter().filter(|path| **path != "/api/events" || browser.token.is_none()) {
        looking.insert(browser.get(path).await.status);
    }
    for path in STEERING {
        steering.insert(browser.post(path, r#"{"all": true}"#).await.status);
    }
    (looking, steering)
}

#[tokio::test]
async fn without_a_token_nothing_is_seen_and_roles_may_what_they_may_over_grpc() {
    let cluster = Cluster::new();
    let running = cluster.coordinator_with(with_roles).await;
    assert_eq!(statuses(&running.browser()).await, ([401].into(), [401].into()));
    let session = running.browser().data("/api/session").await;
    assert_eq!((&session["asks_for_tokens"], &session["may_look"]), (&json!(true), &json!(false)));
    assert_eq!(statuses(&running.browser_as("worker")).await, ([403].into(), [403].into()));

    let client = running.browser_as("client");
    let session = client.data("/api/session").await;
    assert_eq!(session["caller"], "client");
    let may =
        ["may_look", "may_steer", "may_requeue", "may_delete"].map(|what| session[what] == true);
    assert_eq!(may, [true, true, false, false]);
    let requeue =
        async |browser: &Browser| browser.post(STEERING[3], r#"{"all": true}"#).await.status;
    assert_eq!((client.get("/api/jobs").await.status, requeue(&client).await), (200, 403));
    assert_eq!(requeue(&running.browser_as("admin")).await, 404);
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_public_page_is_read_without_a_token_and_changed_with_one() {
    let cluster = Cluster::new();
    let public = |config: &mut Config| {
        with_roles(config);
        config.page.public = true;
    };
    let running = cluster.coordinator_with(public).await;
    let browser = running.browser();
    assert_eq!(browser.get("/api/jobs").await.status, 200);
    assert_eq!(browser.get("/api/jobs/any").await.status, 404);
    browser.events(None).await.next().await.expect("the stream is open");
    for path in STEERING {
        assert_eq!(browser.post(path, "{}").await.status, 401, "{path}");
    }
    // A token that is not known is a mistake that should show.
    let stranger = Browser { token: Some("x".repeat(32)), ..running.browser() };
    assert_eq!(stranger.get("/api/jobs").await.status, 401);
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_site_from_elsewhere_can_neither_read_along_nor_steer() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let id = submit(&mut running.client(), &submission("guarded", true), "key").await;
    let browser = running.browser();
    // Its own name, resolved to us.
    for path in ["/", "/api/jobs"] {
        let seen = browser.send("GET", path, &[("host", "rebind.example:7402")], "").await;
        assert_eq!(seen.status, 403, "{seen:?}");
        assert!(!seen.body.contains(&id));
    }
    // What a form or a script of another origin may send without being asked: no JSON.
    let path = format!("/api/jobs/{id}/cancel");
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let seen = browser.send("POST", &path, &[("content-type", kind)], "{}").await;
        assert_eq!(seen.status, 415, "{seen:?}");
    }
    assert_eq!(browser.get(&path).await.status, 405);
    assert_eq!(job(&mut running.client(), &id).await.state(), JobState::Running);
    let long = json!({ "ids": ["x".repeat(100_000)] }).to_string();
    let requeue = format!("/api/jobs/{id}/dead-letters/requeue");
    assert_eq!(browser.post(&requeue, &long).await.status, 413);
    cluster.stop(running).await;
}

#[tokio::test]
async fn the_pages_files_are_its_own_and_nothing_in_them_is_inline() {
    let cluster = Cluster::new();
    let running = cluster.coordinator().await;
    let browser = running.browser();
    let (mut wanted, mut seen) = (vec!["/".to_owned()], BTreeSet::new());
    while let Some(path) = wanted.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let file = browser.get(&path).await;
        assert_eq!(file.status, 200, "{path}");
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        let tag = file.header("etag").unwrap();
        let again = browser.send("GET", &path, &[("if-none-match", tag)], "").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        // Text of models goes in as text: nothing makes markup or code of it.
        let makes = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ];
        assert!(makes.iter().all(|way| !file.body.contains(way)), "{path}");
        assert!(!file.body.contains(" style=") && !file.body.contains("<style"), "{path}");
        assert!(!file.body.contains("https://"), "{path} names another host");
        let named = file
            .body
            .split(['"', '\''])
            .filter_map(|text| text.strip_prefix("./").or(text.strip_prefix('/')));
        let files =
            named.filter(|name| [".js", ".css", ".svg"].iter().any(|end| name.ends_with(end)));
        wanted.extend(files.map(|name| format!("/{name}")));
    }
    let scripts = seen.iter().filter(|path| path.ends_with(".js")).count();
    assert!(scripts >= 10 && seen.contains("/report.css"), "{seen:?}");
    assert_eq!(browser.get("/no-such-file.js").await.status, 404);
    let data = browser.get("/api/jobs").await;
    assert_eq!(data.header("content-type"), Some("application/json"));
    assert_eq!(data.header("cache-control"), Some("no-store"));
    cluster.stop(running).await;
}

#[tokio::test]
async fn a_page_that_is_switched_off_is_nowhere_and_a_reachable_one_is_protected() {
    let folder = tempfile::tempdir().unwrap();
    let mut off = config(folder.path());
    off.page.enabled = false;
    assert_eq!(Service::bind(off).await.unwrap().page_address(), None);

    let mut open = config(folder.path());
    open.page.address = SocketAddr::from(([0, 0, 0, 0], 0));
    let problems = Problems::of(&open).to_string();
    for field in ["page.address", "page.tls", "server.auth.enabled"] {
        assert!(problems.contains(field), "{problems}");
    }
    with_roles(&mut open);
    open.page.allow_remote = true;
    let problems = Problems::of(&open).to_string();
    assert!(problems.contains("page.tls") && !problems.contains("allow_remote"), "{problems}");
}
