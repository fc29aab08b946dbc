//! The processes of a cluster, and a job for them.

use rlaif_testkit::{RedisServer, free_port};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const PATIENCE: Duration = Duration::from_secs(180);

pub fn rlaif() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rlaif"))
}

/// A job that goes through every stage, whose work items have `chunk_size` prompts or pairs.
pub fn write_job(folder: &Path, chunk_size: usize) {
    let prompts = |word: &str| -> String {
        (0..48).map(|i| format!("{{\"prompt\": \"{word} {i}\"}}\n")).collect()
    };
    std::fs::write(folder.join("prompts.jsonl"), prompts("Tell me about")).unwrap();
    std::fs::write(folder.join("heldout.jsonl"), prompts("What is")).unwrap();
    let job = format!(
        r#"
        name = "tiny"
        seed = 3
        chunk_size = {chunk_size}
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
pub struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One coordinator and its workers.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    collector: String,
    pub redis: RedisServer,
    pub coordinator: Option<Service>,
    pub workers: Vec<Service>,
}

impl Cluster {
    /// Traces and metrics go to `collector`.
    pub fn start(folder: &Path, labelers: usize, collector: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let redis = RedisServer::start();
        let (folder, port) = (folder.to_owned(), free_port());
        let collector = collector.to_owned();
        let mut cluster =
            Self { folder, port, collector, redis, coordinator: None, workers: Vec::new() };
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
            .env("RLAIF__TELEMETRY__OTLP__ENDPOINT", &self.collector)
            .env("RLAIF__TELEMETRY__OTLP__METRICS_INTERVAL", "1s")
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub fn start_coordinator(&mut self) {
        let mut command = self.service("coordinator");
        command
            .env("RLAIF__SERVER__ADDRESS", format!("127.0.0.1:{}", self.port))
            .env("RLAIF__COORDINATOR__DATA_DIR", &self.folder);
        self.coordinator = Some(Service(command.spawn().unwrap()));
    }

    /// Asks the coordinator to end (SIGTERM), and waits until it has.
    pub fn stop_coordinator(&mut self) {
        let mut coordinator = self.coordinator.take().unwrap();
        let id = coordinator.0.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(coordinator.0.wait().unwrap().success());
    }

    pub fn start_worker(&mut self, service: &str) {
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

    pub fn submit(&self, job: &Path) -> String {
        self.ask(&["submit", job.to_str().unwrap()]).trim().to_owned()
    }

    pub fn labels(&self, id: &str) -> usize {
        let labels = self.folder.join("jobs").join(id).join("labels.jsonl");
        std::fs::read_to_string(labels).unwrap_or_default().lines().count()
    }

    pub fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; see {:?}", self.folder);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn manifest(&self, id: &str) -> Value {
        self.ask(&["watch", id]);
        serde_json::from_str(&self.ask(&["report", id, "--format", "manifest"])).unwrap()
    }
}
