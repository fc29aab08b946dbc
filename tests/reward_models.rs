//! Reward models of files, as their users make them: trained, measured on prompts that they have not seen,
//! asked for rewards. The task is one that a tiny random model learns: "yes" is better than "no".

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
/// Learns the task within a few steps.
const FAST: [&str; 10] =
    ["--lr", "0.01", "--epochs", "10", "--batch-size", "8", "--heldout", "0.3", "--seed", "3"];

struct Work {
    folder: TempDir,
}

/// A pair whose better response comes first where the number is even; a labeling model says so too, with
/// less certainty the higher the number.
fn pair(i: usize) -> Value {
    let sides = [format!("yes, {i}"), format!("no no {i}")];
    let a_is_better = i.is_multiple_of(2);
    let (a, b) = if a_is_better { (&sides[0], &sides[1]) } else { (&sides[1], &sides[0]) };
    let human = if a_is_better { 1.0 } else { 0.0 };
    let doubt = 0.4 * (i % 10) as f64 / 10.0;
    json!({"prompt": format!("Question {i}?"), "response_a": a, "response_b": b,
        "human_label": human, "soft_label": if a_is_better { 1.0 - doubt } else { doubt }})
}

impl Work {
    fn with(records: impl IntoIterator<Item = Value>) -> Self {
        let work = Self { folder: tempfile::tempdir().unwrap() };
        let lines: String = records.into_iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(work.path("pairs.jsonl"), lines).unwrap();
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn reward(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.arg("reward").args(args).current_dir(self.folder.path()).output().unwrap()
    }

    /// What a training says of itself.
    fn trained(&self, out: &str, args: &[&str]) -> Value {
        let fixed = ["train", "--in", "pairs.jsonl", "--model", MODEL, "--out", out];
        let output = self.reward(&[&fixed[..], &FAST, args].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        read(&self.path(out).join("reward.json"))
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.reward(args);
        assert!(!output.status.success(), "{args:?} was accepted");
        stderr(&output)
    }

    fn scored(&self, model: &str, input: &str) -> Vec<Value> {
        let args = ["score", "--model", model, "--in", input, "--out", "scored.jsonl"];
        let output = self.reward(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = std::fs::read_to_string(self.path("scored.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn accuracy(record: &Value, of: &str) -> f64 {
    record["heldout"][of]["accuracy"]["share"].as_f64().unwrap()
}

#[test]
fn a_reward_model_learns_what_is_better_and_says_how_sure_that_is() {
    let work = Work::with((0..60).map(pair));
    let record = work.trained("rm", &["--center", "0.01", "--easy-first"]);
    let (learned, heldout) = (&record["learned"], &record["heldout"]["human"]["pairs"]);
    assert_eq!(learned.as_u64().unwrap() + heldout.as_u64().unwrap(), 60);
    assert!(heldout.as_u64().unwrap() >= 8, "{record}");
    assert!(accuracy(&record, "human") > 0.9 && accuracy(&record, "ai") > 0.9, "{record:#}");
    let interval = &record["heldout"]["human"]["accuracy"]["interval"];
    assert!(interval["low"].as_f64().unwrap() < accuracy(&record, "human"));
    // "no no 7" is longer than "yes, 7": length says the opposite.
    let longer = &record["heldout"]["human"]["longer_wins"]["agreement"]["share"];
    assert_eq!(longer.as_f64(), Some(0.0), "{record:#}");
    for number in ["ece", "brier", "temperature", "calibrated_ece"] {
        assert!(!record["heldout"]["human"][number].is_null(), "{number}");
    }
    assert_eq!(record["learned_by_source"]["ai"], *learned, "the labeler was asked about all");
    let report = std::fs::read_to_string(work.path("rm/report.html")).unwrap();
    assert!(report.contains("Reliability") && report.contains("McNemar"));
    let metrics = std::fs::read_to_string(work.path("rm/metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count() as u64, record["steps"].as_u64().unwrap());

    work.trained("again", &["--center", "0.01", "--easy-first"]);
    let weights = |model: &str| std::fs::read(work.path(model).join("model.safetensors")).unwrap();
    assert!(weights("rm") == weights("again"), "the same seed makes the same model");
}

#[test]
fn a_reward_model_has_its_name_only_once_all_of_it_is_there() {
    let work = Work::with((0..20).map(pair));
    let train = ["reward", "train", "--in", "pairs.jsonl", "--model", MODEL, "--out", "rm"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(train).current_dir(work.folder.path()).stdout(Stdio::null());
    let mut training = command.spawn().unwrap();
    let folder = work.path("rm");
    // Looked at as it comes: a kill may leave what is seen at any moment.
    let status = loop {
        let ended = training.try_wait().unwrap();
        if folder.exists() || ended.is_some() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let missing: Vec<&str> =
        ["model.safetensors", "normalisation.json", "reward.json", "metrics.jsonl", "report.html"]
            .into_iter()
            .filter(|file| !folder.join(file).exists())
            .collect();
    let status = status.unwrap_or_else(|| training.wait().unwrap());
    assert!(status.success());
    assert!(missing.is_empty(), "it was to be seen without {missing:?}");
    let left = std::fs::read_dir(work.folder.path()).unwrap();
    assert_eq!(left.count(), 2, "the pairs and the model");
}

#[test]
fn pairs_and_responses_are_scored_alike_and_what_cannot_be_says_why() {
    let work = Work::with((0..40).map(pair));
    work.trained("rm", &["--lora-rank", "8", "--labels", "ai"]);
    let scored = work.scored("rm", "pairs.jsonl");
    let right = scored.iter().enumerate().filter(|(i, record)| {
        let [a, b] = ["reward_a", "reward_b"].map(|field| record[field].as_f64().unwrap());
        assert_eq!(record["prefers_a"].as_f64().unwrap() > 0.5, a > b);
        (a > b) == (i % 2 == 0)
    });
    assert!(right.count() >= 36);

    let response = |text: &str| json!({"prompt": "Question 0?", "response": text}).to_string();
    let lines = [response("yes, 0"), response("no no 0"), response(&"and so on ".repeat(300))];
    std::fs::write(work.path("responses.jsonl"), lines.join("\n")).unwrap();
    let responses = work.scored("rm", "responses.jsonl");
    for (response, field) in responses.iter().zip(["reward_a", "reward_b"]) {
        // Other batches, other sums.
        let both = [&response["reward"], &scored[0][field]].map(|r| r.as_f64().unwrap());
        assert!((both[0] - both[1]).abs() < 1e-3, "{both:?}");
    }
    assert_eq!(responses[2]["unscored"]["reason"], "prompt_too_long");
    assert!(responses[2]["reward"].is_null());
    let error = work.refused(&["score", "--model", MODEL, "--in", "pairs.jsonl"]);
    assert!(error.contains("is no reward model"), "{error}");
}

#[test]
fn pairs_that_weigh_nothing_teach_nothing() {
    // Every third label is wrong, and known to be worth nothing.
    let record = |i: usize| {
        let mut record = pair(i);
        record["weight"] = json!(1.0);
        if i.is_multiple_of(3) {
            record["human_label"] = json!(1.0 - record["human_label"].as_f64().unwrap());
            record["weight"] = json!(0.0);
        }
        record
    };
    let work = Work::with((0..60).map(record));
    let weighted = work.trained("rm", &["--weight-field", "weight"]);
    assert!(accuracy(&weighted, "ai") > 0.9, "{weighted:#}");
    let error = work.refused(&[
        "train",
        "--in",
        "pairs.jsonl",
        "--model",
        MODEL,
        "--out",
        "x",
        "--weight-field",
        "sure",
    ]);
    assert!(error.contains("sure") && error.contains("pairs.jsonl"), "{error}");
}

#[test]
fn labels_that_all_name_the_first_response_teach_what_is_better_and_not_that_it_is_first() {
    // As files of chosen and rejected responses are read.
    let first = |i: usize| {
        json!({"prompt": format!("Question {i}?"), "response_a": format!("yes, {i}"),
            "response_b": format!("no no {i}"), "human_label": 1.0})
    };
    let work = Work::with((0..60).map(first));
    let record = work.trained("rm", &[]);
    assert!(accuracy(&record, "human") > 0.9, "{record:#}");
    let turned_round = (0..60).map(|i| {
        let mut pair = first(i);
        pair["response_a"] = json!(format!("no no {i}"));
        pair["response_b"] = json!(format!("yes, {i}"));
        format!("{pair}\n")
    });
    std::fs::write(work.path("turned.jsonl"), turned_round.collect::<String>()).unwrap();
    let scored = work.scored("rm", "turned.jsonl");
    let second = scored.iter().filter(|pair| pair["prefers_a"].as_f64().unwrap() < 0.5);
    assert!(second.count() >= 54, "the better one is the second now");
}

#[test]
fn labels_that_prefer_nothing_leave_rewards_that_prefer_nothing() {
    let record = |i: usize| {
        let mut record = pair(i);
        record["human_label"] = Value::Null;
        record["soft_label"] = json!(0.5);
        record
    };
    let work = Work::with((0..20).map(record));
    let record = work.trained("rm", &[]);
    assert!(record["learned"].as_u64().unwrap() > 0, "{record:#}");
    let ai = &record["heldout"]["ai"];
    assert!(ai["pairs"].as_u64().unwrap() > 0 && ai["accuracy"]["share"].is_null(), "{record:#}");
    // The head starts at zero, and no label moves it.
    for scored in work.scored("rm", "pairs.jsonl") {
        let number = |field: &str| scored[field].as_f64();
        assert_eq!((number("reward_a"), number("reward_b")), (Some(0.0), Some(0.0)), "{scored}");
        assert_eq!(number("prefers_a"), Some(0.5), "{scored}");
    }
}

#[test]
fn hard_labels_make_a_surer_model_and_are_on_record() {
    // A labeler that always knows the better one, and is hardly sure of it.
    let unsure = |i: usize| {
        let mut record = pair(i);
        record["human_label"] = Value::Null;
        record["soft_label"] = json!(if i.is_multiple_of(2) { 0.6 } else { 0.4 });
        record
    };
    let work = Work::with((0..40).map(unsure));
    let (soft, hard) = (work.trained("soft", &[]), work.trained("hard", &["--hard"]));
    assert_eq!(
        (&soft["settings"]["harden"], &hard["settings"]["harden"]),
        (&Value::Null, &json!(true))
    );
    let sureness = |model: &str| {
        let scored = work.scored(model, "pairs.jsonl");
        let sure = scored.iter().map(|pair| (pair["prefers_a"].as_f64().unwrap() - 0.5).abs());
        sure.sum::<f64>() / scored.len() as f64
    };
    let (soft, hard) = (sureness("soft"), sureness("hard"));
    // The labels are a tenth from a half, or the whole half.
    assert!(hard > soft + 0.1, "{soft} {hard}");
}

#[test]
fn one_pair_is_too_few_and_so_are_all_pairs_of_one_prompt() {
    let of_one_prompt = |i: usize| {
        let mut record = pair(i);
        record["prompt"] = json!("Question?");
        record
    };
    for count in [1, 12] {
        let work = Work::with((0..count).map(of_one_prompt));
        let said = work.refused(&["train", "--in", "pairs.jsonl", "--model", MODEL, "--out", "rm"]);
        for part in ["pairs.jsonl", "each side needs one", "more prompts, or another --heldout"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!work.path("rm").exists());
    }
}

#[test]
fn a_curve_measures_more_and_more_labels_on_the_same_pairs() {
    let work = Work::with((0..40).map(pair));
    let fixed = ["curve", "--in", "pairs.jsonl", "--model", MODEL, "--labels", "human", "--labels"];
    let rest = ["ai", "--counts", "16,4", "--out", "curve.html", "--json", "curve.json"];
    let output = work.reward(&[&fixed[..], &rest, &FAST].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let points = read(&work.path("curve.json"));
    let points = points.as_array().unwrap();
    let plan: Vec<(&str, u64)> = points
        .iter()
        .map(|p| (p["labels"].as_str().unwrap(), p["trained_on"].as_u64().unwrap()))
        .collect();
    assert_eq!(plan, [("human", 4), ("human", 16), ("ai", 4), ("ai", 16)]);
    let measured = points[0]["audit"]["human"]["pairs"].as_u64().unwrap();
    assert!(points.iter().all(|p| p["audit"]["human"]["pairs"] == measured));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("the longer one wins"), "{table}");
    assert!(work.path("curve.html").exists());
    let error = work.refused(&[&fixed[..], &["ai", "--out", "nowhere/curve.html"]].concat());
    assert!(error.contains("nowhere/curve.html"), "{error}");
    // Nothing was computed for it.
    assert!(!error.contains("labels of"), "{error}");
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_the_way_out() {
    let work = Work::with((0..20).map(|i| {
        let mut record = pair(i);
        record["soft_label"] = Value::Null;
        record
    }));
    let train = ["train", "--in", "pairs.jsonl", "--model", MODEL, "--out"];
    let refused = |args: &[&str]| work.refused(&[&train[..], args].concat());
    std::fs::create_dir(work.path("there")).unwrap();
    for (args, complaint) in [
        (&["there"][..], "remove it or name another"),
        (&["x", "--labels", "ai"], "--labels ai"),
        (&["x", "--heldout", "0"], "heldout"),
        (&["x", "--heldout", "1.5"], "heldout_fraction"),
        (&["x", "--max-tokens", "3"], "longer than --max-tokens"),
        (&["x", "--plateau-every", "0"], "every_steps"),
        (&["x", "--chat"], "chat template"),
    ] {
        let error = refused(args);
        assert!(error.contains(complaint), "{args:?}: {error}");
        assert!(!work.path("x").exists());
    }
    let turns = json!([{"role": "user", "content": "Hi"}]);
    let talk = Work::with((0..9).map(|_| {
        json!({"prompt": turns, "response_a": "a", "response_b": "b",
        "human_label": 1})
    }));
    let error = talk.refused(&[&train[..], &["x"]].concat());
    assert!(error.contains("conversation"), "{error}");
}
