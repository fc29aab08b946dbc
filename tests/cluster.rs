//! The cluster as its users run it: real processes over a real Redis, some of them killed. A job leaves
//! there what `rlaif run` leaves.

use rlaif_testkit::{Cluster, Process, RedisServer, run_alone};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const RLAIF: &str = env!("CARGO_BIN_EXE_rlaif");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const PATIENCE: Duration = Duration::from_secs(180);

fn write_job(folder: &Path) {
    let prompts = |word: &str| -> String {
        (0..48).map(|i| format!("{{\"prompt\": \"{word} {i}\"}}\n")).collect()
    };
    std::fs::write(folder.join("prompts.jsonl"), prompts("Tell me about")).unwrap();
    std::fs::write(folder.join("heldout.jsonl"), prompts("What is")).unwrap();
    let job = format!(
        r#"
        name = "tiny"
        seed = 3
        chunk_size = 4
        policy = {{ model = "{MODEL}", chat = false }}
        labeler = {{ model = "{MODEL}", template = "sentiment/compare" }}
        lora = {{ rank = 2 }}
        data = {{ prompts = "prompts.jsonl", heldout_prompts = "heldout.jsonl" }}
        sampling = {{ max_new_tokens = 8 }}
        [reward_model]
        pairs = 160
        epochs = 2
        batch_size = 16
        optimizer = {{ lr = 1e-3 }}
        [rl]
        reward = "model"
        steps = 6
        batch_size = 8
        checkpoint_every = 2
        reinforce = {{ policy = {{ lr = 1e-3 }}, value = {{ lr = 1e-3 }} }}
        "#
    );
    std::fs::write(folder.join("job.toml"), job).unwrap();
}

fn start(folder: &Path) -> Cluster {
    let lease = [("RLAIF__QUEUE__OPTIONS__LEASE", "2s")];
    Cluster::start(RLAIF, folder, RedisServer::start(), &lease)
}

/// One worker of each kind, but for labelers.
fn start_workers(cluster: &Cluster, labelers: usize) -> Vec<Process> {
    let names = ["rollout", "reward", "learner"].into_iter();
    let names = names.chain(std::iter::repeat_n("labeler", labelers));
    names.map(|name| Process::spawn(&mut cluster.worker(name, name))).collect()
}

fn labels(cluster: &Cluster, id: &str) -> usize {
    let labels = cluster.run_folder(id).join("labels.jsonl");
    std::fs::read_to_string(labels).unwrap_or_default().lines().count()
}

fn wait_for_labels(cluster: &Cluster, id: &str, count: usize) {
    let started = Instant::now();
    while labels(cluster, id) < count {
        let folder = cluster.folder();
        assert!(started.elapsed() < PATIENCE, "{count} labels were not made; see {folder:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn manifest(cluster: &Cluster, id: &str) -> Value {
    serde_json::from_str(&cluster.manifest(id)).unwrap()
}

#[test]
fn a_job_leaves_the_same_whoever_works_on_it_and_whoever_is_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path());
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("alone"));
    run_alone(RLAIF, &job, &out);
    let alone: Value =
        serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();

    let one = start(&dir.path().join("one"));
    let workers = start_workers(&one, 1);
    let id = one.submit(&job);
    assert_eq!(one.submit(&job), id, "the same job submitted twice is one job");
    assert_eq!(manifest(&one, &id), alone);
    drop((workers, one));

    let mut three = start(&dir.path().join("three"));
    let mut workers = start_workers(&three, 3);
    let id = three.submit(&job);
    wait_for_labels(&three, &id, 8);
    // SIGKILL: nobody says goodbye.
    drop(workers.pop());
    wait_for_labels(&three, &id, 24);
    three.kill_coordinator();
    three.start_coordinator();
    wait_for_labels(&three, &id, 48);
    three.redis.kill();
    three.redis.restart();
    assert_eq!(manifest(&three, &id), alone);
}
