//! The cluster as its users run it: real processes over a real Redis, some of them killed. A job leaves
//! there what `rlaif run` leaves.

use rlaif_testkit::{RedisServer, free_port};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const PATIENCE: Duration = Duration::from_secs(180);

fn rlaif() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rlaif"))
}

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

/// A process that does not outlive its test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One coordinator and its workers.
struct Cluster {
    folder: PathBuf,
    port: u16,
    redis: RedisServer,
    coordinator: Option<Service>,
    workers: Vec<Service>,
}

impl Cluster {
    fn start(folder: &Path, labelers: usize) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let redis = RedisServer::start();
        let (folder, port) = (folder.to_owned(), free_port());
        let mut cluster = Self { folder, port, redis, coordinator: None, workers: Vec::new() };
        cluster.start_coordinator();
        for service in ["rollout", "reward", "learner"] {
            cluster.start_worker(service);
        }
        (0..labelers).for_each(|_| cluster.start_worker("labeler"));
        cluster
    }

    fn service(&self, name: &str) -> Command {
        let log = self.folder.join(format!("{name}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = rlaif();
        command
            .arg(name)
            .env("RLAIF__QUEUE__URL", self.redis.url())
            .env("RLAIF__QUEUE__OPTIONS__LEASE", "2s")
            .env("RLAIF__ARTIFACTS__URL", self.folder.join("jobs"))
            .env("RLAIF__METRICS__ADDRESS", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    fn start_coordinator(&mut self) {
        let mut command = self.service("coordinator");
        command
            .env("RLAIF__SERVER__ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("RLAIF__COORDINATOR__DATA_DIR", &self.folder);
        self.coordinator = Some(Service(command.spawn().unwrap()));
    }

    fn start_worker(&mut self, service: &str) {
        self.workers.push(Service(self.service(service).spawn().unwrap()));
    }

    /// What a client command prints; it waits for the coordinator by itself.
    fn ask(&self, args: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let server = format!("http://127.0.0.1:{}", self.port);
            let output = rlaif().args(args).env("RLAIF_SERVER", server).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(started.elapsed() < PATIENCE, "rlaif {args:?}: {why}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn submit(&self, job: &Path) -> String {
        self.ask(&["submit", job.to_str().unwrap()]).trim().to_owned()
    }

    fn labels(&self, id: &str) -> usize {
        let labels = self.folder.join("jobs").join(id).join("labels.jsonl");
        std::fs::read_to_string(labels).unwrap_or_default().lines().count()
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; see {:?}", self.folder);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn manifest(&self, id: &str) -> Value {
        self.ask(&["watch", id]);
        serde_json::from_str(&self.ask(&["report", id, "--format", "manifest"])).unwrap()
    }
}

/// What `rlaif run` leaves.
fn manifest_of_one_process(folder: &Path) -> Value {
    let out = folder.join("alone");
    let status = rlaif()
        .arg("run")
        .arg(folder.join("job.toml"))
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_job_leaves_the_same_whoever_works_on_it_and_whoever_is_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path());
    let job = dir.path().join("job.toml");
    let alone = manifest_of_one_process(dir.path());

    let one = Cluster::start(&dir.path().join("one"), 1);
    let id = one.submit(&job);
    assert_eq!(one.submit(&job), id, "the same job submitted twice is one job");
    assert_eq!(one.manifest(&id), alone);
    drop(one);

    let mut three = Cluster::start(&dir.path().join("three"), 3);
    let id = three.submit(&job);
    three.wait_until("labeling", |cluster| cluster.labels(&id) >= 8);
    // SIGKILL: nobody says goodbye.
    drop(three.workers.pop());
    three.wait_until("labeling on", |cluster| cluster.labels(&id) >= 24);
    drop(three.coordinator.take());
    three.start_coordinator();
    three.wait_until("labeling after a restart", |cluster| cluster.labels(&id) >= 48);
    three.redis.kill();
    three.redis.restart();
    assert_eq!(three.manifest(&id), alone);
}
