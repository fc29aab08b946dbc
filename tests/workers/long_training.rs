//! Training in one long piece of work: an attempt that dies costs the steps since the last saved
//! state, and nothing else.

use crate::bench::{
    Listener, MODEL, Process, demonstrations, generate, lora, named, prompts, training,
};
use rlaif_job::{
    FineTune, Label, LabelRecord, Labeler, ModelRef, RewardModelConfig, RewardSummary, SftConfig,
    TaskId, TrainReward, Trained, Work, WorkResult,
};
use rlaif_template::{Asking, Template};
use rlaif_types::{OptimizerConfig, Plateau};
use std::path::Path;

fn optimizer() -> OptimizerConfig {
    OptimizerConfig { lr: 1e-3, ..OptimizerConfig::default() }
}

/// Eight steps.
fn fine_tune() -> Work {
    Work::FineTune(FineTune {
        training: training(Some(lora())),
        config: SftConfig {
            epochs: 4,
            batch_size: 6,
            optimizer: optimizer(),
            ..SftConfig::default()
        },
        demonstrations: "data/demonstrations.jsonl".into(),
    })
}

/// Eight steps, in whole weights.
fn train_reward() -> Work {
    let config = RewardModelConfig {
        heldout_fraction: 0.25,
        epochs: 4,
        batch_size: 6,
        optimizer: optimizer(),
        ..RewardModelConfig::default()
    };
    Work::TrainReward(TrainReward {
        training: training(None),
        config,
        labels: Some("labels.jsonl".into()),
        preferences: None,
    })
}

fn labels(process: &Process) -> Vec<LabelRecord> {
    let sample = Work::SamplePairs(generate(named(), 0, prompts(16)));
    let WorkResult::Pairs(pairs) = process.done(TaskId::Sample(0), sample) else {
        panic!("sampling gives pairs")
    };
    let template = Template::load("sentiment/compare").unwrap();
    let labeler = Labeler { model: named(), template, asking: Asking::default() };
    let label = Label { labeler, pairs: pairs.into_iter().map(|sampled| sampled.pair).collect() };
    match process.done(TaskId::Label(0), Work::Label(label)) {
        WorkResult::Labels(labels) => labels,
        other => panic!("labeling gave {other:?}"),
    }
}

/// A process over a store that holds the data of both kinds of training.
fn prepared(root: &Path) -> Process {
    let process = Process::start(root);
    process.artifacts.put("data/demonstrations.jsonl", demonstrations()).unwrap();
    let labels = labels(&process);
    assert!(labels.iter().all(|label| label.comparison.is_some()), "{labels:?}");
    let lines = labels.iter().map(|label| serde_json::to_string(label).unwrap() + "\n");
    process.artifacts.put("labels.jsonl", lines.collect::<String>()).unwrap();
    process
}

fn trained(result: WorkResult) -> (Trained, Option<RewardSummary>) {
    match result {
        WorkResult::FineTuned(trained) => (trained, None),
        WorkResult::RewardTrained { trained, summary } => (trained, Some(summary)),
        other => panic!("training gave {other:?}"),
    }
}

#[test]
fn a_retry_goes_on_from_the_saved_state_and_ends_with_the_same_bits() {
    for (task, work) in [(TaskId::FineTune, fine_tune()), (TaskId::Reward, train_reward())] {
        let dir = tempfile::tempdir().unwrap();
        let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
        let never_stopped = trained(prepared(&whole).done(task, work.clone()));

        let killed = prepared(&broken).attempt(task, work.clone(), &Listener::killing_at(8));
        assert!(killed.unwrap_err().to_string().contains("killed at step 8"));
        // Another process, as after a crash.
        let (process, listener) = (Process::start(&broken), Listener::default());
        let retried = trained(process.attempt(task, work, &listener).unwrap());

        assert_eq!(*listener.begun_at.lock().unwrap(), Some(6), "it went on from the saved state");
        assert_eq!(retried, never_stopped);
        let steps: Vec<u64> =
            retried.0.metrics.iter().map(|record| record["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7, 8]);
        let weights = |root: &Path| {
            std::fs::read(root.join(&retried.0.model).join("model.safetensors")).unwrap()
        };
        assert_eq!(weights(&whole), weights(&broken));
        assert!(process.artifacts.list("state").unwrap().is_empty(), "the state was for retries");
    }
}

#[test]
fn fine_tuning_that_comes_apart_calls_a_state_good_only_where_a_step_has_passed_on_it() {
    let coming_apart = |checkpoint_every| {
        let Work::FineTune(mut fine_tune) = fine_tune() else { unreachable!() };
        fine_tune.config.optimizer.lr = 1e30;
        fine_tune.training.checkpoint_every = checkpoint_every;
        Work::FineTune(fine_tune)
    };
    // The first step that is made so ruins the weights, the next one finds out.
    for (steps_before, checkpoint_every, found_at, kept) in [
        (0, 3, 2, "no state was saved before it"),
        (
            0,
            1,
            2,
            "the state that is kept, state/sft.safetensors, is the one from which it came to that",
        ),
        (3, 3, 5, "the last good state is state/sft.safetensors, after step 3"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let process = prepared(dir.path());
        if steps_before > 0 {
            let listener = Listener::killing_at(steps_before + 1);
            process.attempt(TaskId::FineTune, fine_tune(), &listener).unwrap_err();
        }
        let why = process.refusal(TaskId::FineTune, coming_apart(checkpoint_every));
        assert!(why.starts_with(&format!("sft step {found_at}: ")), "{why}");
        assert!(why.ends_with(kept), "{why}");
    }
}

#[test]
fn a_state_without_the_records_of_its_steps_is_not_gone_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let process = prepared(dir.path());
    process.attempt(TaskId::FineTune, fine_tune(), &Listener::killing_at(7)).unwrap_err();
    process.artifacts.put("state/sft.jsonl", "{\"stage\":\"sft\",\"step\":1}\n").unwrap();
    let listener = Listener::default();
    let result = process.attempt(TaskId::FineTune, fine_tune(), &listener).unwrap();
    assert_eq!(*listener.begun_at.lock().unwrap(), Some(0));
    assert_eq!(trained(result).0.metrics.len(), 8);
}

#[test]
fn a_reward_model_stops_at_the_plateau_and_a_retry_stops_where_the_first_attempt_would_have() {
    let Work::TrainReward(mut train) = train_reward() else { unreachable!() };
    // Nothing falls by ten nats: the second look is in vain.
    let plateau = Plateau { every_steps: 2, patience: 1, min_delta: 10.0, ..Plateau::default() };
    train.config.plateau = Some(Plateau { fraction: 0.25, ..plateau });
    let work = Work::TrainReward(train);
    let dir = tempfile::tempdir().unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let never_stopped = trained(prepared(&whole).done(TaskId::Reward, work.clone()));
    let looks: Vec<bool> =
        never_stopped.0.metrics.iter().map(|r| r["eval_loss"].is_f64()).collect();
    assert_eq!(looks, [false, true, false, true]);

    let killed = prepared(&broken).attempt(TaskId::Reward, work.clone(), &Listener::killing_at(4));
    killed.unwrap_err();
    let process = Process::start(&broken);
    let retried = trained(process.attempt(TaskId::Reward, work, &Listener::default()).unwrap());
    assert_eq!(retried, never_stopped);
}

#[test]
fn a_reward_model_that_starts_from_another_one_goes_on_with_its_head() {
    let dir = tempfile::tempdir().unwrap();
    let process = prepared(dir.path());
    let mean_at_first = |start: ModelRef| {
        let Work::TrainReward(mut train) = train_reward() else { unreachable!() };
        train.training.start.model = start;
        let (trained, _) = trained(process.done(TaskId::Reward, Work::TrainReward(train)));
        trained.metrics[0]["mean_reward"].as_f64().unwrap()
    };
    assert_eq!(mean_at_first(named()), 0.0, "a head of zeros");
    let given = MODEL.replace("tiny-llama", "tiny-reward");
    assert_ne!(mean_at_first(ModelRef::Named(given)), 0.0);
}
