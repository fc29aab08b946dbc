//! Bugs that other systems had around their labelers, one test each, with the program as its users run it.
//! Those of judging itself, such as orders that are never swapped, stand in `crates/judge/tests/peers_bugs.rs`.

use rlaif_testkit::{Act, Faults, Oracle, ScriptedHttp};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A folder with `labeler.toml`, which describes a labeler, and `in.jsonl`.
struct Scene {
    folder: TempDir,
    runtime: Runtime,
}

impl Scene {
    fn new(records: &[Value]) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap(), runtime: Runtime::new().unwrap() };
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(scene.path("in.jsonl"), lines).unwrap();
        scene
    }

    /// Pairs that a labeler with an opinion is asked about.
    fn with_oracle(records: &[Value]) -> (Self, Oracle) {
        let scene = Self::new(records);
        let oracle = scene.runtime.block_on(Oracle::start(Faults::default()));
        scene.describe(&oracle.describe());
        (scene, oracle)
    }

    /// The same with a labeler that plays a script, and is asked once.
    fn with_script(records: &[Value], script: Vec<Act>) -> (Self, ScriptedHttp) {
        let scene = Self::new(records);
        let server = scene.runtime.block_on(ScriptedHttp::start(script));
        scene.describe(&format!(
            "base_url = \"{}/v1\"\nmodel = \"scripted\"\nmax_attempts = 1\ntimeout = \"200ms\"\n\
             max_concurrency = 1\n",
            server.url()
        ));
        (scene, server)
    }

    fn describe(&self, labeler: &str) {
        std::fs::write(self.path("labeler.toml"), labeler).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `rlaif` with these arguments makes of the records.
    fn done(&self, args: &str) -> Vec<Value> {
        let output = self.output(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        written(&output)
    }

    /// The same of a run that ends with an error, and what it says.
    fn failed(&self, args: &str) -> (Vec<Value>, String) {
        let output = self.output(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        (written(&output), said)
    }

    fn output(&self, args: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.current_dir(self.folder.path()).args(args.split(' '));
        command.args(["--in", "in.jsonl", "--model", "labeler.toml"]).output().unwrap()
    }
}

/// The records that came out.
fn written(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pair(i: usize) -> Value {
    json!({"prompt": format!("Why {i}?"), "response_a": format!("So {i}."),
        "response_b": format!("No {i}.")})
}

fn pairs(count: usize) -> Vec<Value> {
    (0..count).map(pair).collect()
}

/// A labeler that says these tokens, each with the candidates for its place.
fn says(tokens: &[&[(&str, f64)]]) -> Act {
    let token = |(text, p): &(&str, f64)| json!({"token": text, "logprob": p.ln()});
    let said = tokens.iter().map(|candidates| {
        let mut said = token(&candidates[0]);
        said["top_logprobs"] = candidates.iter().map(token).collect();
        said
    });
    let content: Vec<Value> = said.collect();
    let text: String = tokens.iter().map(|candidates| candidates[0].0).collect();
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text},
        "finish_reason": "length", "logprobs": {"content": content}});
    Act::ok(json!({"id": "x", "model": "scripted", "choices": [choice]}).to_string())
}

/// A labeler that is sure of the first.
fn sure() -> Act {
    says(&[&[("1", 0.9), ("2", 0.1)]])
}

#[test]
fn the_same_response_is_never_both_chosen_and_rejected() {
    let (scene, _oracle) = Scene::with_oracle(&pairs(40));
    for (i, label) in scene.done("label --template helpful/base").iter().enumerate() {
        let (a, b) = (format!("So {i}."), format!("No {i}."));
        let a_is_better = label["soft_label"].as_f64().unwrap() > 0.5;
        let (chosen, rejected) = if a_is_better { (a, b) } else { (b, a) };
        assert_eq!((&label["chosen"], &label["rejected"]), (&json!(chosen), &json!(rejected)));
    }
}

#[test]
fn the_last_batch_is_labelled_also_where_it_is_not_full() {
    // 64 are asked together.
    for count in [1, 63, 64, 65, 129] {
        let (scene, _oracle) = Scene::with_oracle(&pairs(count));
        assert_eq!(scene.done("label --template helpful/base").len(), count);
    }
}

#[test]
fn one_failed_item_loses_no_label_that_was_paid_for() {
    let mut records = pairs(70);
    records[3]["response_b"] = json!("  ");
    let (scene, oracle) = Scene::with_oracle(&records);
    let run = "label --template helpful/base --ledger l.sqlite";
    let labels = scene.done(run);
    assert_eq!(labels.len(), 70);
    let failed: Vec<usize> = (0..70).filter(|i| labels[*i].get("unscorable").is_some()).collect();
    assert_eq!(failed, [3]);
    let paid = oracle.requests();
    assert_eq!(scene.done(run).len(), 70);
    assert_eq!(oracle.requests(), paid, "a label that was paid for was not kept");
}

#[test]
fn a_labeler_that_does_not_answer_in_time_gives_no_reward_and_no_label() {
    let item = json!({"prompt": "Why?", "response": "So."});
    let (scene, _server) = Scene::with_script(&[item], vec![Act::Silence]);
    let (rated, _) = scene.failed("rate --template helpful/rating");
    let rated = &rated[0];
    assert_eq!(rated["unscorable"]["reason"], "engine_unavailable");
    assert!(rated.get("reward").is_none() && rated.get("score").is_none(), "{rated}");
    let (scene, _server) = Scene::with_script(&pairs(1), vec![Act::Silence]);
    let (labelled, _) = scene.failed("label --template helpful/base");
    let labelled = &labelled[0];
    assert_eq!(labelled["unscorable"]["reason"], "engine_unavailable");
    assert!(labelled.get("soft_label").is_none() && labelled.get("chosen").is_none(), "{labelled}");
}

#[test]
fn a_verdict_is_not_looked_for_where_none_was_asked_for() {
    let chatty = says(&[
        &[("Answer", 0.9), ("The", 0.05)],
        &[(":", 0.9), (" is", 0.1)],
        &[("1", 0.9), ("2", 0.1)],
    ]);
    let (scene, _server) = Scene::with_script(&pairs(1), vec![chatty]);
    let (labelled, _) = scene.failed("label --template helpful/base");
    assert_eq!(labelled[0]["unscorable"]["reason"], "no_verdict");
}

#[test]
fn a_failure_is_not_remembered_as_an_answer() {
    // Both orders fail, then both are answered.
    let script = vec![Act::status(400, "no"), Act::status(400, "no"), sure()];
    let (scene, server) = Scene::with_script(&pairs(1), script);
    let run = "label --template helpful/base --ledger l.sqlite";
    assert!(scene.failed(run).0[0].get("unscorable").is_some());
    assert_eq!(scene.done(run)[0]["soft_label"], 0.5, "sure of the first in both orders");
    let asked = server.requests().len();
    assert_eq!(scene.done(run)[0]["soft_label"], 0.5);
    assert_eq!(server.requests().len(), asked, "an answer is remembered");
}

/// A key that is wrong, found out by as many calls as there are records, in a run that counts as done.
#[test]
fn a_key_that_is_refused_ends_the_run_at_the_first_call() {
    let refusal = Act::status(401, r#"{"error": {"message": "no such key"}}"#);
    let (scene, server) = Scene::with_script(&pairs(200), vec![refusal]);
    let (records, said) = scene.failed("label --template helpful/base");
    assert!(said.contains("refuses to answer") && said.contains("no such key"), "{said}");
    assert!(records.iter().all(|record| record["unscorable"]["reason"] == "engine_refused"));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_labeler_that_can_judge_nothing_is_not_asked_about_everything() {
    let mute = json!({"model": "m", "choices": [{"message": {"content": "1"}}]});
    let (scene, server) = Scene::with_script(&pairs(200), vec![Act::ok(mute.to_string())]);
    let (records, said) = scene.failed("label --template helpful/base");
    assert!(said.contains("none of the first 64 pairs"), "{said}");
    assert!(said.contains("no log-probabilities"), "{said}");
    // Both orders of those that are asked about together.
    assert_eq!((records.len(), server.requests().len()), (64, 128));
}

/// Answers that are paid for and no good, which an account does not see.
#[test]
fn a_ceiling_counts_answers_that_gave_no_label() {
    let mute = json!({"model": "m", "choices": [{"message": {"content": "1"}}],
        "usage": {"prompt_tokens": 200, "completion_tokens": 1}});
    let script = vec![sure(), sure(), Act::ok(mute.to_string())];
    let (scene, server) = Scene::with_script(&pairs(40), script);
    let (_, said) = scene.failed("label --template helpful/base --max-tokens 12000");
    assert!(said.contains("stopped at the ceiling"), "{said}");
    let asked = server.requests().len();
    // Both orders of 40 pairs would be 80.
    assert!((3..=12_000 / 201).contains(&asked), "{asked} calls of 201 tokens");
}

#[test]
fn a_response_that_is_always_the_same_wins_nothing_by_a_labeler_that_looks_at_positions_alone() {
    // Every question is answered with the first, whatever stands there.
    let records: Vec<Value> = (0..20)
        .map(|i| {
            json!({"prompt": format!("Why {i}?"), "response_a": "I don't know.",
                "response_b": format!("Because of {i}.")})
        })
        .collect();
    let (scene, _server) = Scene::with_script(&records, vec![sure()]);
    let labels = scene.done("label --template helpful/base");
    assert!(labels.iter().all(|label| label["soft_label"] == 0.5), "{labels:?}");
}
