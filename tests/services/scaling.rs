//! What KEDA sees where a labeler is killed with work in hand: as long as no other has done it there is work, so
//! another is started; then there is none. crates/queue shows the same of all that can happen to an item.

use crate::labeler::pair;
use crate::queue::hand_out;
use rlaif_job::{Label, Labeler, ModelRef, TaskId, Work, WorkItem};
use rlaif_queue::{Address, Options, Outcome, Position, Queue};
use rlaif_template::{Asking, Template};
use rlaif_testkit::{Faults, Oracle, Process, RedisServer, eventually};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;

/// The length of the stream that KEDA's manifest names, which is what it reads without a consumer group.
fn keda_reads(redis: &mut redis::Connection) -> u64 {
    let manifest =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/k8s/components/keda/labeler.yaml");
    let text = std::fs::read_to_string(manifest).unwrap();
    let stream = text.lines().find_map(|line| line.trim().strip_prefix("stream: ")).unwrap();
    redis::cmd("XLEN").arg(stream.trim_matches('"')).query(redis).unwrap()
}

/// A labeler's process.
fn start(name: &str, redis: &RedisServer, folder: &Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command
        .arg("labeler")
        .env("RLAIF__WORKER__NAME", name)
        .env("RLAIF__QUEUE__URL", redis.url())
        .env("RLAIF__QUEUE__OPTIONS__LEASE", "2s")
        .env("RLAIF__ARTIFACTS__URL", folder.join("artifacts"))
        .env("RLAIF__ARTIFACTS__CACHE", folder.join("cache"))
        .env("RLAIF__METRICS__ADDRESS", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::spawn(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labeler_killed_with_work_in_hand_leaves_keda_a_reason_to_start_another() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let (folder, mut keda) = (folder.path(), redis.connection());
    let address = Address::new(redis.url());
    let queue = Queue::redis("label", &address, Options::default()).await.unwrap();
    // Who asks it never has an answer.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = folder.join("endpoint.toml");
    let address = silent.local_addr().unwrap();
    let describe = format!("base_url = \"http://{address}/v1\"\nmodel = \"silent\"\n");
    std::fs::write(&endpoint, describe).unwrap();
    let labeler = Labeler {
        model: ModelRef::Named(endpoint.to_str().unwrap().to_owned()),
        template: Template::load("helpful/base").unwrap(),
        asking: Asking::default(),
    };
    let work = Work::Label(Label { labeler, pairs: vec![pair("A fine day.", "A grim day.")] });
    let item = WorkItem { job: "job".to_owned(), task: TaskId::Label(0), work };
    hand_out(&queue, folder, &item).await;
    assert_eq!(keda_reads(&mut keda), 1);

    let mut killed = start("labeler-1", &redis, folder);
    let asked = tokio::time::timeout(Duration::from_secs(30), silent.accept()).await;
    let _asked = asked.expect("the labeler has the item in hand, and asks").unwrap();
    assert_eq!(keda_reads(&mut keda), 1, "work in hand is work");
    killed.kill();
    assert_eq!(keda_reads(&mut keda), 1, "so is that of the dead");

    let oracle = Oracle::start(Faults::default()).await;
    std::fs::write(&endpoint, oracle.describe()).unwrap();
    let another = start("labeler-2", &redis, folder);
    let ended = eventually("another labeler has done it", async || {
        let length = keda_reads(&mut keda);
        let results = queue.results(Position::START, 10, Duration::ZERO).await.unwrap();
        let mut ends = results.into_iter().map(|entry| entry.outcome);
        let ended = ends.find(|outcome| !matches!(outcome, Outcome::Progress(_)));
        // What had no result after the look had none before it.
        assert!(ended.is_some() || length == 1, "KEDA would leave the work undone");
        ended
    })
    .await;
    assert!(matches!(ended, Outcome::Done { attempts: 2, .. }), "{ended:?}");
    assert!(oracle.questions() > 0);
    assert_eq!(keda_reads(&mut keda), 0, "an idle labeler would be paid for");
    another.stop();
}
