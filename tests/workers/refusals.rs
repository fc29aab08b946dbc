//! What no retry can mend is said at once, with what, where and how.

use crate::bench::{MODEL, Process, generate, named, policy, prompts, sampling, training};
use rlaif_job::{
    CheckLabeler, CheckPolicy, CheckReward, CheckedModel, FineTune, ModelRef, Policy,
    RewardModelConfig, SftConfig, TaskId, TrainReward, Work, WorkResult,
};
use rlaif_template::Template;
use rlaif_types::{LabelSource, Message, Prompt};
use std::path::Path;

fn check_policy(model: ModelRef, chat: bool) -> Work {
    let mut policy = policy(model);
    policy.chat = chat;
    let prompts = vec![("data/prompts.jsonl".into(), "my/prompts.jsonl".into())];
    Work::CheckPolicy(CheckPolicy { policy, sampling: sampling(), prompts })
}

/// A prompt as a user's file has it.
fn line(prompt: &Prompt) -> String {
    format!("{}\n", serde_json::json!({"prompt": prompt}))
}

#[test]
fn a_prompt_that_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut asked = prompts(3);
    asked[1] = Prompt::Text(format!("A long story: {}", "word ".repeat(10_000)));
    for work in [Work::SamplePairs, Work::Rollout] {
        let why = process.refusal(TaskId::Sample(2), work(generate(named(), 32, asked.clone())));
        assert!(why.starts_with("prompt 33, \"A long story: word"), "{why}");
        assert!(why.contains("does not fit the model's context") && why.len() < 400, "{why}");
    }
    let lines: String = asked.iter().map(line).collect();
    process.artifacts.put("data/prompts.jsonl", lines).unwrap();
    let why = process.refusal(TaskId::CheckPolicy, check_policy(named(), false));
    assert!(why.starts_with("my/prompts.jsonl:2: the prompt has "), "{why}");
}

#[test]
fn a_policy_that_is_well_is_identified_and_one_that_is_not_refused() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    process.artifacts.put("data/prompts.jsonl", line(&Prompt::Text("Say it".into()))).unwrap();
    match process.done(TaskId::CheckPolicy, check_policy(named(), false)) {
        WorkResult::Checked(CheckedModel { name, hash }) => {
            assert_eq!((name.as_str(), hash.as_str().len()), ("tiny-llama", 64));
        }
        other => panic!("a check gave {other:?}"),
    }
    let missing = ModelRef::Named("no/such/model".into());
    let why = process.refusal(TaskId::CheckPolicy, check_policy(missing, false));
    assert!(why.contains("no/such/model"), "{why}");
    let conversation = Prompt::Messages(vec![Message::user("Hi")]);
    process.artifacts.put("data/prompts.jsonl", line(&conversation)).unwrap();
    let why = process.refusal(TaskId::CheckPolicy, check_policy(named(), false));
    assert_eq!(why, "my/prompts.jsonl:1: the prompt is a conversation, but policy.chat is false");
}

#[test]
fn a_template_whose_verdicts_read_alike_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let good = Template::load("sentiment/compare").unwrap();
    let check = |template: &Template| {
        let templates = vec![template.clone()];
        Work::CheckLabeler(CheckLabeler { model: named(), templates })
    };
    let identified = process.done(TaskId::CheckLabeler, check(&good));
    assert!(matches!(identified, WorkResult::Checked(_)), "{identified:?}");
    let alike = Template { verdicts: vec!["1".into(), "1".into()], ..good };
    let why = process.refusal(TaskId::CheckLabeler, check(&alike));
    assert!(why.contains("like another verdict"), "{why}");
}

#[test]
fn what_a_reward_model_cannot_start_from_is_refused_before_there_are_labels() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let from = |model: &Path, chat: bool| {
        let start = policy(ModelRef::Named(model.display().to_string()));
        Work::CheckReward(CheckReward { start: Policy { chat, ..start } })
    };
    // It may be of another width, with another tokenizer, and a reward model already.
    let good = Path::new(MODEL).with_file_name("tiny-reward");
    let identified = process.done(TaskId::CheckReward, from(&good, false));
    assert!(matches!(identified, WorkResult::Checked(_)), "{identified:?}");

    let refusal = |work| process.refusal(TaskId::CheckReward, work);
    let why = refusal(from(Path::new("no/such/model"), false));
    assert!(why.starts_with("reward_model.from: ") && why.contains("no/such/model"), "{why}");
    let why = refusal(from(&good, true));
    assert!(why.starts_with("reward_model.from: policy.chat is true, but the model has"), "{why}");
    // A head for sixteen labels.
    let bad = dir.path().join("bad");
    std::fs::create_dir(&bad).unwrap();
    for file in std::fs::read_dir(&good).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), bad.join(file.file_name())).unwrap();
    }
    let weights = bad.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let one_label = bytes.windows(6).position(|part| part == b"[1,16]").unwrap();
    bytes[one_label..one_label + 6].copy_from_slice(b"[16,1]");
    std::fs::write(&weights, bytes).unwrap();
    let why = refusal(from(&bad, false));
    assert!(why.starts_with("reward_model.from: ") && why.contains("score.weight"), "{why}");
}

#[test]
fn training_on_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    process.artifacts.put("data", "\n").unwrap();
    let fine_tune = FineTune {
        training: training(None),
        config: SftConfig::default(),
        demonstrations: "data".into(),
    };
    let why = process.refusal(TaskId::FineTune, Work::FineTune(fine_tune));
    assert_eq!(why, "data: no demonstrations");
    let train = TrainReward {
        training: training(None),
        config: RewardModelConfig::default(),
        labels: Some("data".into()),
        preferences: None,
    };
    let why = process.refusal(TaskId::Reward, Work::TrainReward(train.clone()));
    assert!(why.contains("not one labelled pair"), "{why}");
    let config = RewardModelConfig { labels: LabelSource::Human, ..RewardModelConfig::default() };
    let by_a_model =
        r#"{"prompt": "2+2?", "response_a": "4", "response_b": "5", "soft_label": 0.9}"#;
    process.artifacts.put("data", by_a_model).unwrap();
    let given = TrainReward { config, labels: None, preferences: Some("data".into()), ..train };
    let why = process.refusal(TaskId::Reward, Work::TrainReward(given));
    let expected = "data: of 1 preferences not one can be learned from with reward_model.labels = \"human\": \
        1 without a label of the kind that is learned";
    assert_eq!(why, expected);
}

#[test]
fn an_artifact_that_is_not_there_is_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let overtaken = ModelRef::Version {
        start: Box::new(named()),
        lora: None,
        parameters: "versions/policy-00000001.safetensors".into(),
    };
    let work = Work::Rollout(generate(overtaken, 0, prompts(1)));
    let task = TaskId::Rollout { step: 1, chunk: 0 };
    let retry = process.attempt(task, work, &crate::bench::Listener::default()).unwrap_err();
    assert_eq!(retry.to_string(), "no artifact versions/policy-00000001.safetensors");
}
