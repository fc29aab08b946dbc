//! Steps of reinforcement learning: whichever learner makes one makes the same version.

use crate::bench::{Listener, Process, generate, lora, named, prompts, training};
use rlaif_artifacts::{ArtifactStore, Bytes};
use rlaif_job::{
    Lessons, Manifest, ModelRef, Policy, PolicyStep, Rollout, SavePolicy, Stepped, TaskId,
    Training, Work, WorkResult,
};
use rlaif_models::{CausalLm, ParamRef};
use rlaif_types::{
    Algorithm, DpoConfig, Episode, GrpoConfig, LabelSource, OnlineDpoConfig, OptimizerConfig,
    PolicyLearning, PpoConfig, ReinforceConfig, RlooConfig, Unscorable, UnscorableReason,
};
use rlaif_worker::version_name;
use std::sync::Arc;

const STEPS: usize = 8;

fn optimizer(lr: f64) -> OptimizerConfig {
    OptimizerConfig { lr, ..OptimizerConfig::default() }
}

fn step(training: &Training, step: usize, checkpoint: usize) -> PolicyStep {
    let config = ReinforceConfig {
        policy: optimizer(1e-2),
        value: optimizer(1e-2),
        ..ReinforceConfig::default()
    };
    step_by(Algorithm::Reinforce(config), training, step, checkpoint)
}

fn step_by(
    algorithm: Algorithm,
    training: &Training,
    step: usize,
    checkpoint: usize,
) -> PolicyStep {
    PolicyStep {
        training: training.clone(),
        learning: PolicyLearning { group_size: 2, ..PolicyLearning::plain(algorithm, 0.9) },
        step,
        steps: STEPS,
        checkpoint,
        lessons: Lessons::Rollouts((checkpoint + 1..=step).map(batch_name).collect()),
        candidate: false,
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
    train_choosing(process, training, |_| false)
}

/// The same where some versions are candidates.
fn train_choosing(
    process: &Process,
    training: &Training,
    is_candidate: fn(usize) -> bool,
) -> Vec<(Stepped, Bytes)> {
    let (mut policy, mut checkpoint) = (training.start.model.clone(), 0);
    let steps = (1..=STEPS).map(|number| {
        make_batch(process, number, policy.clone());
        let work = step(training, number, checkpoint);
        let work = PolicyStep { candidate: is_candidate(number), ..work };
        let (stepped, parameters) = made(process, work);
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
fn candidates_outlast_versions_and_one_of_them_is_saved_as_the_last_step_would_be() {
    const MODEL: &str = "checkpoints/policy/model.safetensors";
    let (plain, choosing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let training = training(Some(lora()));
    let process = Process::start(plain.path());
    let last = train(&process, &training).pop().unwrap().0;
    assert_eq!((last.model.as_deref(), last.candidate), (Some("checkpoints/policy"), None));
    let model = process.artifacts.get(MODEL).unwrap();

    let process = Process::start(choosing.path());
    let steps = train_choosing(&process, &training, |step| step % 4 == 0);
    let candidates = [4, 8].map(|step| format!("candidates/policy-{step:08}.safetensors"));
    assert_eq!(process.artifacts.list("candidates").unwrap(), candidates);
    assert!(steps.iter().all(|(stepped, _)| stepped.model.is_none()), "none is chosen yet");
    let save = |parameters: &str| {
        let policy = Policy { model: version(&training, parameters), chat: training.start.chat };
        match process.done(TaskId::SavePolicy, Work::SavePolicy(SavePolicy { policy })) {
            WorkResult::Saved(saved) => assert_eq!(saved, "checkpoints/policy"),
            other => panic!("saving gave {other:?}"),
        }
        process.artifacts.get(MODEL).unwrap()
    };
    assert_ne!(save(&candidates[0]), model, "an earlier version");
    assert_eq!(save(&candidates[1]), model);
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
        "policy step 1: not one rollout is fit to learn from; the first: prompt_too_long: 3000 tokens"
    );
}

#[test]
fn a_step_without_all_its_batches_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut work = step(&training(None), 3, 0);
    work.lessons = Lessons::Rollouts(vec![batch_name(2), batch_name(3)]);
    let why = process.refusal(TaskId::Step(3), Work::PolicyStep(work));
    assert!(why.contains("policy step 3 from checkpoint 0 does not go with"), "{why}");
}

#[test]
fn every_algorithm_makes_the_same_version_from_a_checkpoint_as_from_memory() {
    for algorithm in [
        Algorithm::Rloo(RlooConfig { policy: optimizer(1e-2), ..RlooConfig::default() }),
        Algorithm::Grpo(GrpoConfig { minibatches: 2, epochs: 2, ..GrpoConfig::default() }),
        Algorithm::Ppo(PpoConfig { minibatches: 2, epochs: 2, ..PpoConfig::default() }),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (process, training) = (Process::start(dir.path()), training(Some(lora())));
        let kind = algorithm.kind();
        let work = |number, checkpoint| step_by(algorithm.clone(), &training, number, checkpoint);
        let mut last = None;
        for number in 1..=5 {
            make_batch(&process, number, named());
            last = Some(made(&process, work(number, if number > 3 { 3 } else { 0 })));
        }
        let again = made_alone(&Process::start(dir.path()), work(5, 3));
        assert_eq!(Some(again), last, "{kind}");
    }
}

fn preferences(process: &Process) -> Lessons {
    let line = |i: usize| {
        format!("{{\"prompt\": \"Say {i}\", \"chosen\": \"Yes, {i}.\", \"rejected\": \"No.\"}}\n")
    };
    let lines: String = (0..7).map(line).collect();
    process.artifacts.put("data/preferences.jsonl", lines).unwrap();
    let (file, labels) = ("data/preferences.jsonl".into(), LabelSource::Mixed);
    Lessons::Preferences { file, labels, batch_size: 4 }
}

#[test]
fn of_a_pair_that_people_and_a_model_judged_it_is_said_whose_label_is_learned() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(Some(lora())));
    // As `rlaif label` leaves a pair of which it thinks otherwise than people.
    let line = |i: usize| {
        format!(
            "{{\"prompt\": \"Say {i}\", \"response_a\": \"Yes, {i}.\", \"response_b\": \"No.\", \
             \"soft_label\": 0.0, \"human_label\": 1.0}}\n"
        )
    };
    let lines: String = (0..7).map(line).collect();
    process.artifacts.put("both.jsonl", lines).unwrap();
    let config = DpoConfig { policy: optimizer(1e-2), ..DpoConfig::default() };
    let chosen_by = |labels: LabelSource| {
        let lessons = Lessons::Preferences { file: "both.jsonl".into(), labels, batch_size: 4 };
        let work = |number| PolicyStep {
            lessons: lessons.clone(),
            ..step_by(Algorithm::Dpo(config.clone()), &training, number, 0)
        };
        // The first step starts at its reference; the second has learned.
        let process = Process::start(dir.path());
        made(&process, work(1));
        made(&process, work(2)).0.metrics
    };
    let (people, model) = (chosen_by(LabelSource::Human), chosen_by(LabelSource::Ai));
    assert_ne!(people["rewards/chosen"], model["rewards/chosen"]);
    assert_eq!(model, chosen_by(LabelSource::Mixed), "the model's where it was asked");
}

#[test]
fn given_preferences_are_learned_without_rollouts_and_from_any_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(Some(lora())));
    let config = DpoConfig { policy: optimizer(1e-2), ..DpoConfig::default() };
    let lessons = preferences(&process);
    let work = |number, checkpoint| PolicyStep {
        lessons: lessons.clone(),
        ..step_by(Algorithm::Dpo(config.clone()), &training, number, checkpoint)
    };
    let steps: Vec<_> =
        (1..=5).map(|n| made(&process, work(n, if n > 3 { 3 } else { 0 }))).collect();
    let accuracy = |i: usize| steps[i].0.metrics["rewards/accuracies"].as_f64().unwrap();
    assert_eq!((accuracy(0), accuracy(4)), (0.0, 1.0), "it starts at its reference");
    assert!(steps[4].0.metrics["rewards/margins"].as_f64().unwrap() > 0.0);
    assert_eq!(made_alone(&Process::start(dir.path()), work(5, 3)), steps[4]);

    process
        .artifacts
        .put(
            "data/preferences.jsonl",
            "{\"prompt\": \"Hi\", \"response_a\": \"a\", \
        \"response_b\": \"b\"}\n",
        )
        .unwrap();
    let why = Process::start(dir.path()).refusal(TaskId::Step(1), Work::PolicyStep(work(1, 0)));
    assert!(why.contains("of 1 preferences not one can be learned from"), "{why}");
    assert!(why.contains("rl.labels = \"mixed\": 1 without a label"), "{why}");
}

#[test]
fn a_policy_that_came_apart_stops_the_run_and_the_last_that_is_known_to_be_good_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (process, training) = (Process::start(dir.path()), training(Some(lora())));
    let config = ReinforceConfig {
        policy: optimizer(1e-3),
        value: optimizer(1e-3),
        max_off_policy_steps: 1,
        ..ReinforceConfig::default()
    };
    let work = |number, checkpoint| {
        step_by(Algorithm::Reinforce(config.clone()), &training, number, checkpoint)
    };
    let mut policy = named();
    for number in 1..=4 {
        make_batch(&process, number, policy.clone());
        let (stepped, _) = made(&process, work(number, if number > 3 { 3 } else { 0 }));
        policy = version(&training, &stepped.parameters);
    }
    make_batch(&process, 5, policy);
    let batch: Vec<Episode> =
        serde_json::from_slice(&process.artifacts.get(&batch_name(5)).unwrap()).unwrap();
    // Tokens of which the policy that drew was certain, as its start is not.
    let certain = |e: &Episode| Episode { logprobs: vec![0.0; e.logprobs.len()], ..e.clone() };
    put_batch(&process, 5, &batch.iter().map(certain).collect::<Vec<_>>());
    let mut strict = work(5, 3);
    strict.learning.max_kl_per_token = 1.0;
    let why = process.refusal(TaskId::Step(5), Work::PolicyStep(strict));
    assert!(why.starts_with("policy step 5: the policy is "), "{why}");
    assert!(why.contains("more than rl.max_kl_per_token = 1"), "{why}");
    // What drew for the step that failed is the policy after step 4.
    let kept = "the last good policy, after step 3, is kept in checkpoints/last-good";
    assert!(why.ends_with(kept), "{why}");
    let job = process.resources.job("").unwrap();
    let weights = |which| values(&job.language_model(&which).unwrap().model);
    let last_good = weights(ModelRef::Saved(Manifest::LAST_GOOD.into()));
    assert!(last_good == weights(version(&training, &version_name(3))));

    let rewards_beyond_f32 = |e: &Episode| Episode { reward: Ok(1e300), ..e.clone() };
    put_batch(&process, 5, &batch.iter().map(rewards_beyond_f32).collect::<Vec<_>>());
    let why = process.refusal(TaskId::Step(5), Work::PolicyStep(work(5, 3)));
    assert!(why.starts_with("policy step 5: the value network's loss is inf"), "{why}");
    assert!(why.ends_with(kept), "{why}");

    // What the policy before drew speaks against that one, too.
    let drawn_before = |e: &Episode| Episode { off_policy_steps: 1, ..rewards_beyond_f32(e) };
    put_batch(&process, 5, &batch.iter().map(drawn_before).collect::<Vec<_>>());
    let why = process.refusal(TaskId::Step(5), Work::PolicyStep(work(5, 3)));
    assert!(why.ends_with("the last good policy, after step 2, is kept in checkpoints/last-good"));
}
