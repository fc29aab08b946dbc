//! A worker does not begin to train what its machine has no memory for.

use crate::bench::{Listener, Process, demonstrations, lora, training};
use rlaif_artifacts::ArtifactStore;
use rlaif_job::{
    FineTune, Lessons, PolicyStep, RewardModelConfig, SftConfig, TaskId, TrainReward, Work,
    WorkResult,
};
use rlaif_models::DeviceName;
use rlaif_types::{Algorithm, PolicyLearning, ReinforceConfig};
use rlaif_worker::memory::Limit;
use rlaif_worker::{ResourceOptions, Retry};
use std::path::Path;

/// A process that may take so much for training.
fn process(root: &Path, max_memory: Option<Limit>) -> Process {
    let store = ArtifactStore::open(&root.display().to_string(), root).unwrap();
    Process::with(store, ResourceOptions { max_memory, ..ResourceOptions::on(DeviceName::Cpu) })
}

fn fine_tune() -> Work {
    Work::FineTune(FineTune {
        training: training(Some(lora())),
        config: SftConfig::default(),
        demonstrations: "data".into(),
    })
}

#[test]
fn training_that_cannot_fit_is_left_to_a_worker_that_has_more() {
    let dir = tempfile::tempdir().unwrap();
    let small = process(dir.path(), Some(Limit::Bytes(50_000_000)));
    let algorithm = Algorithm::Reinforce(ReinforceConfig::default());
    let step = PolicyStep {
        training: training(None),
        learning: PolicyLearning::plain(algorithm, 1.0),
        step: 1,
        steps: 1,
        checkpoint: 0,
        lessons: Lessons::Rollouts(vec!["batch".into()]),
        candidate: false,
    };
    let reward = TrainReward {
        training: training(None),
        config: RewardModelConfig::default(),
        labels: Some("data".into()),
        preferences: None,
    };
    for (task, work, when) in [
        (TaskId::FineTune, fine_tune(), "while the policy is fine-tuned"),
        (TaskId::Reward, Work::TrainReward(reward), "while the reward model learns"),
        (TaskId::Step(1), Work::PolicyStep(step), "while the policy learns"),
    ] {
        match small.attempt(task, work, &Listener::default()) {
            Err(Retry::Failed(why)) => {
                for part in [when, "and this worker has 50 MB: give it more", "worker.max_memory"] {
                    assert!(why.contains(part), "{part}: {why}");
                }
            }
            other => panic!("{when}: {other:?}"),
        }
    }
    // The machine that runs this has enough, and whoever may take any does not ask.
    for max_memory in [None, Some(Limit::Any)] {
        let large = process(dir.path(), max_memory);
        large.artifacts.put("data", demonstrations()).unwrap();
        let done = large.done(TaskId::FineTune, fine_tune());
        assert!(matches!(done, WorkResult::FineTuned(_)), "{done:?}");
    }
}
