//! A coordinator with its workers, and a job for them.

use rlaif_testkit::{Cluster, Process, RedisServer, TinyJob};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

pub const RLAIF: &str = env!("CARGO_BIN_EXE_rlaif");
const PATIENCE: Duration = Duration::from_secs(180);

/// A job that goes through every stage, whose work items have `chunk_size` prompts or pairs.
pub fn write_job(folder: &Path, chunk_size: usize) {
    let settings = format!(
        r#"
        seed = 3
        chunk_size = {chunk_size}
        lora = {{ rank = 2 }}
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
    let job = TinyJob {
        template: "sentiment/compare",
        prompts: 48,
        heldout_prompts: 48,
        ..TinyJob::default()
    };
    job.write(&folder.join("job.toml"), &settings);
}

/// A cluster and who works in it.
pub struct Crewed {
    pub cluster: Cluster,
    pub workers: Vec<Process>,
    /// So that no two workers have one name, not even one after the other.
    hired: usize,
}

impl Crewed {
    /// One worker of each kind, but for labelers. Traces and metrics go to `collector`.
    pub fn start(folder: &Path, labelers: usize, collector: &str) -> Self {
        Self::start_apart(folder, &folder.join("jobs"), labelers, collector)
    }

    /// The same with artifacts in a folder of their own.
    pub fn start_apart(folder: &Path, artifacts: &Path, labelers: usize, collector: &str) -> Self {
        let settings = [
            ("RLAIF__ARTIFACTS__URL", artifacts.to_str().unwrap()),
            ("RLAIF__QUEUE__OPTIONS__LEASE", "2s"),
            ("RLAIF__TELEMETRY__OTLP__ENDPOINT", collector),
            ("RLAIF__TELEMETRY__OTLP__METRICS_INTERVAL", "1s"),
        ];
        let cluster = Cluster::start(RLAIF, folder, RedisServer::start(), &settings);
        let mut crewed = Self { cluster, workers: Vec::new(), hired: 0 };
        let kinds = ["rollout", "reward", "learner"].into_iter();
        kinds.chain(std::iter::repeat_n("labeler", labelers)).for_each(|k| crewed.start_worker(k));
        crewed
    }

    pub fn start_worker(&mut self, kind: &str) {
        let name = format!("{kind}-{}", self.hired);
        self.hired += 1;
        self.workers.push(Process::spawn(&mut self.cluster.worker(kind, &name)));
    }

    pub fn labels(&self, id: &str) -> usize {
        let labels = self.cluster.run_folder(id).join("labels.jsonl");
        std::fs::read_to_string(labels).unwrap_or_default().lines().count()
    }

    pub fn wait_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            let folder = self.cluster.folder();
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; see {folder:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn manifest(&self, id: &str) -> Value {
        serde_json::from_str(&self.cluster.manifest(id)).unwrap()
    }
}
