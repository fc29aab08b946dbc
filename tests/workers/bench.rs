//! A process with all four workers over a store of its own, and pieces of work for it.

use rlaif_artifacts::{ArtifactStore, BlockingArtifacts};
use rlaif_job::{
    Generate, ModelRef, Policy, SamplingConfig, TaskId, Tokens, Training, Work, WorkItem,
    WorkResult, WorkerKind,
};
use rlaif_labeler::LabelerExecutor;
use rlaif_learner::LearnerExecutor;
use rlaif_models::DeviceName;
use rlaif_reward::RewardExecutor;
use rlaif_rollout::RolloutExecutor;
use rlaif_types::{LoraConfig, Prompt};
use rlaif_worker::{Advance, Executor, Progress, ResourceOptions, Resources, Retry};
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;
use tokio::runtime::Runtime;

pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tiny-llama");

/// All workers of one process. Nothing but the store's folder outlives it.
pub struct Process {
    pub resources: Resources,
    pub artifacts: BlockingArtifacts,
    rollout: RolloutExecutor,
    labeler: LabelerExecutor,
    reward: RewardExecutor,
    learner: LearnerExecutor,
    _runtime: Runtime,
}

impl Process {
    /// A process over the store in `root`, which one job has for itself.
    pub fn start(root: &Path) -> Self {
        Self::over(ArtifactStore::open(&root.display().to_string(), root).unwrap())
    }

    /// A process over a store that one job has for itself.
    pub fn over(store: ArtifactStore) -> Self {
        Self::with(store, ResourceOptions::on(DeviceName::Cpu))
    }

    /// The same, within other bounds.
    pub fn with(store: ArtifactStore, options: ResourceOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let artifacts = BlockingArtifacts::new(store.job("").unwrap(), runtime.handle().clone());
        let resources = Resources::new(store, runtime.handle().clone(), options).unwrap();
        Self {
            artifacts,
            rollout: RolloutExecutor::new(resources.clone()),
            labeler: LabelerExecutor::new(resources.clone()),
            reward: RewardExecutor::new(resources.clone()),
            learner: LearnerExecutor::new(resources.clone()),
            resources,
            _runtime: runtime,
        }
    }

    /// One attempt. The item travels as it would through a queue, and so does the result.
    pub fn attempt(
        &self,
        task: TaskId,
        work: Work,
        progress: &dyn Progress,
    ) -> Result<WorkResult, Retry> {
        let item = WorkItem { job: String::new(), task, work };
        let item: WorkItem = through_a_queue(&item);
        let executor: &dyn Executor = match item.work.worker() {
            WorkerKind::Rollout => &self.rollout,
            WorkerKind::Labeler => &self.labeler,
            WorkerKind::Reward => &self.reward,
            WorkerKind::Learner => &self.learner,
        };
        Ok(through_a_queue(&executor.execute(&item, progress)?))
    }

    /// Work that succeeds at the first attempt.
    pub fn done(&self, task: TaskId, work: Work) -> WorkResult {
        self.attempt(task, work, &Listener::default()).unwrap()
    }

    /// Why work is impossible.
    pub fn refusal(&self, task: TaskId, work: Work) -> String {
        match self.done(task, work) {
            WorkResult::Impossible(why) => why,
            other => panic!("it was possible: {other:?}"),
        }
    }
}

fn through_a_queue<T: serde::Serialize + serde::de::DeserializeOwned>(message: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(message).unwrap()).unwrap()
}

/// Remembers what it is told, and kills the attempt when a step is measured.
#[derive(Default)]
pub struct Listener {
    pub kill_at: Option<u64>,
    pub begun_at: Mutex<Option<usize>>,
}

impl Listener {
    pub fn killing_at(step: u64) -> Self {
        Self { kill_at: Some(step), ..Self::default() }
    }
}

impl Progress for Listener {
    fn advance(&self, advance: &Advance<'_>) {
        self.begun_at.lock().unwrap().get_or_insert(advance.done);
    }

    fn measured(&self, record: &Value) {
        if self.kill_at.is_some_and(|step| record["step"] == step) {
            panic!("killed at step {}", record["step"]);
        }
    }

    fn used(&self, _: Tokens) {}
}

pub fn named() -> ModelRef {
    ModelRef::Named(MODEL.into())
}

pub fn policy(model: ModelRef) -> Policy {
    Policy { model, chat: false }
}

pub fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: 8, ..SamplingConfig::default() }
}

pub fn lora() -> LoraConfig {
    LoraConfig { rank: 2, ..LoraConfig::default() }
}

pub fn training(lora: Option<LoraConfig>) -> Training {
    Training {
        start: policy(named()),
        lora,
        micro_batch_tokens: 64,
        gradient_checkpointing: false,
        checkpoint_every: 3,
        seed: 3,
    }
}

pub fn prompts(count: usize) -> Vec<Prompt> {
    (0..count).map(|i| Prompt::Text(format!("Tell me about {i}"))).collect()
}

pub fn generate(model: ModelRef, first: usize, prompts: Vec<Prompt>) -> Generate {
    Generate { policy: policy(model), sampling: sampling(), seed: 3, first, prompts }
}

/// Demonstrations as a job's file has them.
pub fn demonstrations() -> String {
    (0..12)
        .map(|i| format!("{{\"prompt\": \"Say {i}\", \"completion\": \"It is {i}.\"}}\n"))
        .collect()
}
