//! Steps of reinforcement learning: whichever learner makes one makes the same version.

use crate::bench::{Listener, Process, generate, lora, named, prompts, training};
use rlaif_artifacts::{ArtifactStore, Bytes};
use rlaif_job::{ModelRef, PolicyStep, Rollout, Stepped, TaskId, Training, Work, WorkResult};
use rlaif_models::{CausalLm, ParamRef};
use rlaif_types::{Episode, OptimizerConfig, ReinforceConfig, Unscorable, UnscorableReason};
use std::sync::Arc;

const STEPS: usize = 8;

fn step(training: &Training, step: usize, checkpoint: usize) -> PolicyStep {
    let optimizer = OptimizerConfig { lr: 1e-2, ..OptimizerConfig::default() };
    PolicyStep {
        training: training.clone(),
        reinforce: ReinforceConfig {
            policy: optimizer.clone(),
            value: optimizer,
            ..ReinforceConfig::default()
        },
        step,
        steps: STEPS,
        checkpoint,
        batches: (checkpoint + 1..=step).map(batch_name).collect(),
    }
}

fn batch_name(step: usize) -> String {
    format!("batches/{step:08}.json")
}

fn version(training: &Training, parameters: &str) -> ModelRef {
    ModelRef::Version {
        start: Box::new(training.start.model.clone()),
        lora: training.lora.clone(),
        parameters: parameters.into(),
    }
}

fn rollouts(process: &Process, step: usize, policy: ModelRef) -> Vec<Rollout> {
    let work = Work::Rollout(generate(policy, step * 6, prompts(6)));
    match process.done(TaskId::Rollout { step, chunk: 0 }, work) {
        WorkResult::Rollouts(rollouts) => rollouts,
        other => panic!("a rollout gave {other:?}"),
    }
}

/// Draws a step's batch with `policy`; short responses are rewarded.
fn make_batch(process: &Process, step: usize, policy: ModelRef) {
    let episodes = rollouts(process, step, policy).into_iter().map(|rollout| Episode {
        reward: Ok(1.0 / rollout.text.len().max(1) as f64),
        ..rollout.episode
    });
    put_batch(process, step, &episodes.collect::<Vec<_>>());
}

fn put_batch(process: &Process, step: usize, episodes: &[Episode]) {
    process.artifacts.put(&batch_name(step), serde_json::to_vec(episodes).unwrap()).unwrap();
}

fn stepped(process: &Process, work: PolicyStep) -> Stepped {
    match process.done(TaskId::Step(work.step), Work::PolicyStep(work)) {
        WorkResult::Stepped(stepped) => stepped,
        other => panic!("a step gave {other:?}"),
    }
}

/// A step's outcome and the parameters it published.
fn made(process: &Process, work: PolicyStep) -> (Stepped, Bytes) {
    let stepped = stepped(process, work);
    let parameters = process.artifacts.get(&stepped.parameters).unwrap();
    (stepped, parameters)
}

/// All steps by one learner, which has every step's predecessor in memory.
fn train(process: &Process, training: &Training) -> Vec<(Stepped, Bytes)> {
    let (mut policy, mut checkpoint) = (training.start.model.clone(), 0);
    let steps = (1..=STEPS).map(|number| {
        make_batch(process, number, policy.clone());
        let (stepped, parameters) = made(process, step(training, number, checkpoint));
        policy = version(training, &stepped.parameters);
        checkpoint = if stepped.checkpointed { number } else { checkpoint };
        (stepped, parameters)
    });
    steps.collect()
}

#[test]
fn a_step_from_a_checkpoint_equals_the_step_from_memory() {
    for lora in [Some(lora()), None] {
        let dir = tempfile::tempdir().unwrap();
        let training = training(lora);
        let from_memory = train(&Process::start(dir.path()), &training);
        let checkpointed: Vec<bool> = from_memory.iter().map(|(s, _)| s.checkpointed).collect();
        assert_eq!(checkpointed, [false, false, true, false, false, true, false, true]);

        // Each on a learner that knows nothing but the store, with a step to repeat: from a saved
        // state, and from the start.
        for (number, checkpoint) in [(8, 6), (2, 0)] {
            let process = Process::start(dir.path());
            let (stepped, parameters) = made_alone(&process, step(&training, number, checkpoint));
            assert_eq!(
                (&stepped, &parameters),
                (&from_memory[number - 1].0, &from_memory[number - 1].1)
            );
        }
    }
}

/// As [`made`], for a step that others have overtaken: its version is not kept, so the newer ones
/// are put out of the way.
fn made_alone(process: &Process, work: PolicyStep) -> (Stepped, Bytes) {
    for name in process.artifacts.list("versions").unwrap() {
        process.artifacts.delete(&name).unwrap();
    }
    made(process, work)
}

#[test]
fn a_step_whose_result_was_lost_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(Some(lora())));
    make_batch(&process, 1, named());
    let first = made(&process, step(&training, 1, 0));
    make_batch(&process, 2, version(&training, &first.0.parameters));
    let work = || step(&training, 2, 0);
    // The version is published before anyone hears of it.
    let lost = process.attempt(TaskId::Step(2), Work::PolicyStep(work()), &Listener::killing_at(2));
    assert!(lost.is_err());
    let published = process.artifacts.get("versions/policy-00000002.safetensors").unwrap();
    assert_eq!(made(&process, work()).1, published);
    // And once more by the learner that has just made it.
    assert_eq!(made(&process, work()).1, published);
}

#[test]
fn a_published_version_is_the_learners_policy() {
    for lora in [Some(lora()), None] {
        let dir = tempfile::tempdir().unwrap();
        let (process, training) = (Process::start(dir.path()), training(lora));
        let steps = train(&process, &training);
        let last = &steps[STEPS - 1].0;
        assert_eq!(last.model.as_deref(), Some("checkpoints/policy"));

        let job = process.resources.job("").unwrap();
        let load = |which: &ModelRef| values(&job.language_model(which).unwrap().model);
        let published = load(&version(&training, &last.parameters));
        assert_eq!(published, load(&ModelRef::Saved("checkpoints/policy".into())));
        assert_ne!(published, load(&named()), "training changed nothing");
    }
}

#[test]
fn a_bucket_serves_as_well_as_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let bucket = Arc::new(object_store::memory::InMemory::new());
    let cache = dir.path().join("cache");
    let bucket = ArtifactStore::over(bucket, "prefix".into(), &cache).unwrap();
    let processes = [Process::start(&dir.path().join("folder")), Process::over(bucket)];
    let training = training(Some(lora()));
    let [folder, bucket] = processes.each_ref().map(|process| {
        let steps = train(process, &training);
        (steps, rollouts(process, 1, ModelRef::Saved("checkpoints/policy".into())))
    });
    assert_eq!(folder, bucket);
}

/// Every weight's bits by name.
fn values(model: &CausalLm) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    model.for_each(&mut |name, param| {
        let data = match param {
            ParamRef::Matrix(m) => m.clone().into_data(),
            ParamRef::Vector(v) => v.clone().into_data(),
        };
        let bits = data.into_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect();
        all.push((name.to_owned(), bits));
    });
    all
}

#[test]
fn an_engine_answers_with_the_version_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(None));
    let steps = train(&process, &training);
    let versions =
        [&steps[STEPS - 2].0, &steps[STEPS - 1].0].map(|s| version(&training, &s.parameters));
    let drawn = versions.clone().map(|version| rollouts(&process, 1, version));
    assert_ne!(drawn[0], drawn[1], "the last step changed nothing");
    // Back to the one before, and in a process that never ran another.
    assert_eq!(rollouts(&process, 1, versions[0].clone()), drawn[0]);
    assert_eq!(rollouts(&Process::start(dir.path()), 1, versions[1].clone()), drawn[1]);
}

#[test]
fn the_newest_two_versions_and_states_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    train(&process, &training(Some(lora())));
    for (folder, kept) in [("versions", [7, 8]), ("state", [6, 8])] {
        let names = kept.map(|step| format!("{folder}/policy-{step:08}.safetensors"));
        assert_eq!(process.artifacts.list(folder).unwrap(), names);
    }
}

#[test]
fn a_step_in_which_nothing_could_be_judged_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(Some(lora())));
    let broken = || Unscorable::new(UnscorableReason::PromptTooLong, "3000 tokens");
    let episodes: Vec<Episode> = rollouts(&process, 1, named())
        .into_iter()
        .map(|rollout| Episode { reward: Err(broken()), ..rollout.episode })
        .collect();
    put_batch(&process, 1, &episodes);
    let why = process.refusal(TaskId::Step(1), Work::PolicyStep(step(&training, 1, 0)));
    assert_eq!(
        why,
        "policy step 1: not one rollout is fit to learn from; the first: PromptTooLong: 3000 tokens"
    );
}

#[test]
fn a_step_without_all_its_batches_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut work = step(&training(None), 3, 0);
    work.batches.remove(0);
    let why = process.refusal(TaskId::Step(3), Work::PolicyStep(work));
    assert!(why.contains("2 batches"), "{why}");
}
