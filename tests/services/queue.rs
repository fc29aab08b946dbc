//! Workers and their queue, and how they are configured.

use crate::{MODEL, TEMPLATE, config, start};
use rlaif_artifacts::Payload;
use rlaif_job::{Answer, CheckLabeler, ModelRef, TaskId, Work, WorkItem, WorkResult};
use rlaif_labeler::Labeler;
use rlaif_queue::{Address, Item, Options, Outcome, Position, Queue};
use rlaif_template::Template;
use rlaif_testkit::{RedisServer, eventually};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Work for a labeler that needs no more than to be loaded.
pub(crate) async fn enqueue(queue: &Queue, folder: &Path, job: &str) {
    let templates = vec![Template::load(TEMPLATE).unwrap()];
    let work = Work::CheckLabeler(CheckLabeler { model: ModelRef::Named(MODEL.into()), templates });
    let item = WorkItem { job: job.to_owned(), task: TaskId::CheckLabeler, work };
    hand_out(queue, folder, &item).await;
}

/// Puts work into its queue as a coordinator does, over the artifacts in `folder`.
pub(crate) async fn hand_out(queue: &Queue, folder: &Path, item: &WorkItem) {
    let artifacts = rlaif_artifacts::ArtifactStore::open(
        &folder.join("artifacts").display().to_string(),
        &folder.join("cache"),
    );
    let artifacts = artifacts.unwrap().job(&item.job).unwrap();
    let message = serde_json::to_vec(item).unwrap();
    let payload = Payload::of(&artifacts, message).await.unwrap();
    let id = format!("{}/{}", item.job, item.task);
    queue.enqueue(vec![Item::new(id, payload.to_wire())]).await.unwrap();
}

async fn result(queue: &Queue) -> WorkResult {
    let entry = eventually("a result", async || {
        let results = queue.results(Position::START, 1, Duration::from_secs(1)).await.ok()?;
        results.into_iter().find(|entry| matches!(entry.outcome, Outcome::Done { .. }))
    })
    .await;
    queue.acknowledge(entry.position).await.unwrap();
    let Outcome::Done { payload, .. } = entry.outcome else { unreachable!("just found") };
    let Payload::Inline(message) = Payload::from_wire(&payload).unwrap() else {
        panic!("a small result travels inline")
    };
    serde_json::from_slice::<Answer>(&message).unwrap().result
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_does_what_is_queued_and_outlives_its_redis() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start();
    let url = redis.url();
    // The worker comes first. It waits for its queue, and is ready for callers, who need none.
    redis.kill();
    let config = config::<Labeler>(&url, folder.path(), |config| {
        config.queue.options.patience = Duration::from_secs(1);
    });
    let worker = start::<Labeler>(config).await;
    worker.until_ready().await;
    redis.restart();

    let queue = Queue::redis("label", &Address::new(&url), Options::default()).await.unwrap();
    enqueue(&queue, folder.path(), "job-1").await;
    assert!(matches!(result(&queue).await, WorkResult::Checked(_)));

    // Longer than the patience of each of its operations.
    redis.kill();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(worker.is_ready() && !worker.ended.is_finished());
    redis.restart();
    enqueue(&queue, folder.path(), "job-2").await;
    assert!(matches!(result(&queue).await, WorkResult::Checked(_)));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_while_its_redis_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = RedisServer::start();
    let url = redis.url();
    let config = config::<Labeler>(&url, folder.path(), |config| {
        // Patient for longer than tasks may take to end.
        config.queue.options.patience = 2 * config.shutdown.grace;
    });
    let worker = start::<Labeler>(config).await;
    let queue = Queue::redis("label", &Address::new(&url), Options::default()).await.unwrap();
    enqueue(&queue, folder.path(), "job").await;
    assert!(matches!(result(&queue).await, WorkResult::Checked(_)));

    redis.kill();
    worker.stop().await;
}

#[test]
fn a_dumped_configuration_is_whole_and_shows_no_secret() {
    for kind in ["labeler", "rollout", "reward", "learner"] {
        let output = Command::new(env!("CARGO_BIN_EXE_rlaif"))
            .args([kind, "--dump-config"])
            .env("RLAIF__QUEUE__URL", "redis://:hunter2@queue:6379")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        for expected in ["[queue]", "[artifacts]", "[worker]", "[direct]", "[server]", "patience"] {
            assert!(text.contains(expected), "{kind}: no {expected} in\n{text}");
        }
        assert!(!text.contains("hunter2"), "{kind}");
    }
}
