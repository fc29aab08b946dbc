//! What a model cannot be given as it is, is left out and counted, the same way in every kind of training.

use crate::bench::{Process, demonstrations, lora, training};
use rlaif_job::{
    FineTune, LeftOut, Lessons, PolicyStep, RewardModelConfig, SftConfig, Stepped, TaskId,
    TrainReward, Trained, Unlearnable, Work, WorkResult,
};
use rlaif_types::{Algorithm, DpoConfig, LabelSource, PolicyLearning};
use serde_json::{Value, json};

/// Longer than the model's context, several times.
fn story() -> String {
    format!("A long story: {}", "word ".repeat(2_000))
}

fn put(process: &Process, records: impl IntoIterator<Item = Value>) {
    let lines: String = records.into_iter().map(|record| format!("{record}\n")).collect();
    process.artifacts.put("data", lines).unwrap();
}

fn counts(left_out: &LeftOut) -> Vec<(Unlearnable, usize)> {
    left_out.iter().collect()
}

fn fine_tuned(process: &Process) -> Trained {
    let work = FineTune {
        training: training(Some(lora())),
        config: SftConfig { batch_size: 12, ..SftConfig::default() },
        demonstrations: "data".into(),
    };
    match process.done(TaskId::FineTune, Work::FineTune(work)) {
        WorkResult::FineTuned(trained) => trained,
        other => panic!("fine-tuning gave {other:?}"),
    }
}

/// Twelve demonstrations that fit, as records.
fn fitting() -> Vec<Value> {
    demonstrations().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn fine_tuning_leaves_out_what_is_too_long_or_empty() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let others = [
        json!({"prompt": story(), "completion": "Well."}),
        json!({"prompt": "Say nothing", "completion": ""}),
        json!({"prompt": [{"role": "user", "content": "Hi"}], "completion": "Ho"}),
    ];
    put(&process, fitting().into_iter().chain(others.clone()));
    let trained = fine_tuned(&process);
    let expected =
        [(Unlearnable::TooLong, 1), (Unlearnable::Unreadable, 1), (Unlearnable::Empty, 1)];
    assert_eq!((trained.examples, counts(&trained.left_out)), (12, expected.to_vec()));

    put(&process, others);
    let work = FineTune {
        training: training(None),
        config: SftConfig::default(),
        demonstrations: "data".into(),
    };
    let why = process.refusal(TaskId::FineTune, Work::FineTune(work));
    assert!(why.starts_with("data: of 3 demonstrations not one can be learned from: 1 longer"));
}

#[test]
fn no_end_is_learned_of_an_answer_that_was_cut_off_and_no_half_character() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let learned = |finish: &str, tail: &str| {
        let ended = fitting().into_iter().map(|mut record| {
            record["completion"] =
                json!(format!("{}{tail}", record["completion"].as_str().unwrap()));
            record["finish"] = json!(finish);
            record
        });
        put(&process, ended.chain([json!({"prompt": "Hi", "completion": tail, "finish": finish})]));
        let trained = fine_tuned(&process);
        (trained.examples, trained.metrics[0]["tokens"].as_u64().unwrap())
    };
    let (whole, cut) = (learned("stop", ""), learned("length", ""));
    assert_eq!(cut, (12, whole.1 - 12), "twelve ends of a text");
    assert_eq!(learned("length", "\u{fffd}"), cut, "what is nothing but half a character is empty");
}

/// Eight pairs that people judged, and one of each kind that is left out where people are heard.
fn pairs() -> Vec<Value> {
    let pair = |prompt: String, chosen: &str| json!({"prompt": prompt, "chosen": chosen, "rejected": "No."});
    let by_a_model =
        json!({"prompt": "2+2?", "response_a": "4", "response_b": "5", "soft_label": 0.9});
    let fitting = (0..8).map(|i| pair(format!("Say {i}"), "Yes."));
    fitting.chain([pair(story(), "Well."), by_a_model]).collect()
}

#[test]
fn a_reward_model_and_offline_preferences_leave_out_the_same_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    put(&process, pairs());
    let expected = [(Unlearnable::TooLong, 1), (Unlearnable::Unlabelled, 1)];

    let labels = LabelSource::Human;
    let train = TrainReward {
        training: training(Some(lora())),
        config: RewardModelConfig {
            labels,
            heldout_fraction: 0.25,
            batch_size: 4,
            ..RewardModelConfig::default()
        },
        labels: None,
        preferences: Some("data".into()),
    };
    match process.done(TaskId::Reward, Work::TrainReward(train)) {
        WorkResult::RewardTrained { trained, .. } => {
            assert_eq!((trained.examples, counts(&trained.left_out)), (6, expected.to_vec()));
        }
        other => panic!("training gave {other:?}"),
    }

    assert_eq!(counts(&stepped(&process, labels).left_out), expected);
}

/// The first step on the given preferences.
fn stepped(process: &Process, labels: LabelSource) -> Stepped {
    let step = PolicyStep {
        training: training(Some(lora())),
        learning: PolicyLearning::plain(Algorithm::Dpo(DpoConfig::default()), 1.0),
        step: 1,
        steps: 2,
        checkpoint: 0,
        lessons: Lessons::Preferences { file: "data".into(), labels, batch_size: 4 },
        candidate: false,
    };
    match process.done(TaskId::Step(0), Work::PolicyStep(step)) {
        WorkResult::Stepped(stepped) => stepped,
        other => panic!("a step gave {other:?}"),
    }
}

#[test]
fn no_end_is_learned_of_a_side_that_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mean_tokens = |finish: [&str; 2], rejected: &str| {
        let pair = |i: usize| {
            json!({"prompt": format!("Say {i}"), "chosen": "Yes.", "rejected": rejected,
                   "finish_a": finish[0], "finish_b": finish[1]})
        };
        put(&process, (0..4).map(pair));
        let metrics = stepped(&process, LabelSource::Human).metrics;
        metrics["completions/mean_length"].as_f64().unwrap()
    };
    let whole = mean_tokens(["stop", "stop"], "No.");
    assert_eq!(mean_tokens(["stop", "length"], "No."), whole - 0.5, "one end of two");
    assert_eq!(mean_tokens(["length", "length"], "No."), whole - 1.0);
    assert_eq!(mean_tokens(["stop", "length"], "No.\u{fffd}"), whole - 0.5, "half a character");
}
