//! `rlaif label` as its users see it.

use rlaif_testkit::write_jsonl;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

fn label(records: &[Value]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(["label", "--model", MODEL, "--template", "sentiment/compare"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input: String = records.iter().map(|r| format!("{r}\n")).collect();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `rlaif` with these arguments, in `folder`.
fn rlaif(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rlaif")).args(args).current_dir(folder).output().unwrap()
}

/// A folder with `records` in `in.jsonl`.
fn folder_with(records: &[Value]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_jsonl(&folder.path().join("in.jsonl"), records);
    folder
}

/// A folder in which `l.sqlite` has what a command (`label`, `rate`) with these arguments says of `records`; its
/// output is in `out.jsonl`.
fn ledger_of(args: &[&str], records: &[Value]) -> TempDir {
    let folder = folder_with(records);
    add_to_ledger(folder.path(), args);
    folder
}

fn add_to_ledger(folder: &Path, args: &[&str]) {
    let files = ["--in", "in.jsonl", "--out", "out.jsonl", "--ledger", "l.sqlite"];
    let output = rlaif(folder, &[args, &["--model", MODEL], &files].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", stderr(output));
    parsed(&String::from_utf8_lossy(&output.stdout))
}

fn parsed(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pair(a: &str, b: &str) -> Value {
    json!({"prompt": "Say something.", "response_a": a, "response_b": b, "source": "kept"})
}

#[test]
fn exchanging_a_and_b_gives_exactly_one_minus_the_label() {
    let texts = [("A fine day.", "A grim day."), ("Yes", "No, never again"), ("x", "naïve 🚀")];
    let forward = label(&texts.map(|(a, b)| pair(a, b)));
    let backward = label(&texts.map(|(a, b)| pair(b, a)));
    for (forward, backward) in forward.iter().zip(&backward) {
        let (p, q) =
            (forward["soft_label"].as_f64().unwrap(), backward["soft_label"].as_f64().unwrap());
        assert_eq!(p, 1.0 - q);
        assert_eq!(forward["chosen"], backward["chosen"]);
        assert_eq!(forward["source"], "kept");
        assert_ne!(forward["label_id"], backward["label_id"]);
    }
}

#[test]
fn trl_pairs_come_back_as_trl_pairs() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let input = json!({
        "chosen": [message("user", "Hi"), message("assistant", "Hello!")],
        "rejected": [message("user", "Hi"), message("assistant", "Go away.")],
    });
    let labelled = &label(&[input])[0];
    assert_eq!(labelled["prompt"], json!([message("user", "Hi")]));
    for side in ["chosen", "rejected"] {
        assert_eq!(labelled[side][0]["role"], "assistant");
    }
    assert_eq!(labelled["order_ab"]["verdict_logprobs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_pair_that_cannot_be_judged_has_a_reason_and_no_label() {
    let labelled =
        label(&[pair("fine", "good"), pair("", "good"), pair("bad", &"long ".repeat(600))]);
    assert!(labelled[0]["soft_label"].is_f64());
    for (record, reason) in [(&labelled[1], "bad_item"), (&labelled[2], "prompt_too_long")] {
        assert_eq!(record["unscorable"]["reason"], reason);
        assert!(record.get("soft_label").is_none());
    }
}

#[test]
fn labels_made_again_are_of_one_way_of_asking_and_say_which() {
    let compare = ["label", "--template", "sentiment/compare"];
    let work = ledger_of(&compare, &[pair("fine", "good"), pair("bad", "worse")]);
    let reaggregate = |choice: &[&str]| {
        let vote = ["labels", "reaggregate", "--ledger", "l.sqlite", "--combine", "vote"];
        rlaif(work.path(), &[&vote[..], choice].concat())
    };
    let only = lines(&reaggregate(&[]));
    assert_eq!(only.len(), 2);
    assert!(only.iter().all(|label| label["template"] == "sentiment/compare"), "{only:?}");
    assert!(only.iter().all(|label| label["model_hash"].is_string()), "{only:?}");

    // The same pairs asked about otherwise.
    add_to_ledger(work.path(), &[&compare[..], &["--min-verdict-mass", "0.000001"]].concat());
    let mixed = reaggregate(&[]);
    assert!(!mixed.status.success() && mixed.stdout.is_empty());
    assert!(stderr(&mixed).contains("2 ways"), "{}", stderr(&mixed));
    assert!(stderr(&mixed).contains("--asking plain"), "{}", stderr(&mixed));
    assert_eq!(lines(&reaggregate(&["--asking", "plain"])), only);
    let labelled = std::fs::read_to_string(work.path().join("out.jsonl")).unwrap();
    let labelled: Value = serde_json::from_str(labelled.lines().next().unwrap()).unwrap();
    let hash = labelled["asking_hash"].as_str().unwrap();
    let other = lines(&reaggregate(&["--asking", &hash[..12]]));
    assert_eq!(other.len(), 2);
    assert_eq!(other[0]["asking"], labelled["asking"]);
    assert!(other.iter().all(|label| label["asking_hash"] == hash), "{other:?}");
}

#[test]
fn labels_made_again_are_in_their_file_whole_or_not_at_all() {
    let work = ledger_of(&["label", "--template", "sentiment/compare"], &[pair("fine", "good")]);
    let path = |name: &str| work.path().join(name);
    let reaggregate = |out: &str, choice: &[&str]| {
        let fixed = ["labels", "reaggregate", "--ledger", "l.sqlite", "--out", out];
        rlaif(work.path(), &[&fixed[..], choice].concat())
    };
    assert_eq!(lines(&reaggregate("votes.jsonl", &["--combine", "vote"])), Vec::<Value>::new());
    let votes = parsed(&std::fs::read_to_string(path("votes.jsonl")).unwrap());
    assert_eq!(votes, lines(&reaggregate("-", &["--combine", "vote"])));
    assert_eq!(votes.len(), 1);
    // What cannot be made leaves what is there.
    assert!(!reaggregate("votes.jsonl", &["--template", "nothing"]).status.success());
    assert_eq!(parsed(&std::fs::read_to_string(path("votes.jsonl")).unwrap()), votes);
    // Nor is the ledger written over, by whatever name.
    std::os::unix::fs::symlink("l.sqlite", path("link.jsonl")).unwrap();
    let ledger = std::fs::read(path("l.sqlite")).unwrap();
    for (out, complaint) in [
        ("l.sqlite", "is the file that --ledger reads"),
        ("link.jsonl", "is the file that --ledger reads"),
        ("votes.parquet", "data convert"),
    ] {
        let refused = reaggregate(out, &[]);
        assert!(!refused.status.success(), "{out} was written");
        assert!(stderr(&refused).contains(complaint), "{out}: {}", stderr(&refused));
    }
    assert!(std::fs::read(path("l.sqlite")).unwrap() == ledger, "the ledger is another");
    assert!(!path("votes.parquet").exists());
}

#[test]
fn what_cannot_be_made_again_is_refused_with_its_reason() {
    let item = json!({"prompt": "Say something.", "response": "A fine day."});
    let work = ledger_of(&["rate", "--template", "sentiment/rubric"], &[item]);
    for (choice, complaint) in [
        ("--temperature 0", "above 0"),
        ("--temperature=-1", "above 0"),
        ("", "1 ratings"),
        ("--template nothing", "no label is selected"),
    ] {
        let command = format!("labels reaggregate --ledger l.sqlite {choice}");
        let output = rlaif(work.path(), &command.split_whitespace().collect::<Vec<_>>());
        assert!(!output.status.success(), "{choice:?} succeeded");
        assert!(stderr(&output).contains(complaint), "{choice:?}: {}", stderr(&output));
    }
}

/// What labeling four pairs by a local model comes to, below a ceiling of tokens or without one.
struct Labelled {
    ended_well: bool,
    labels: Vec<Value>,
}

impl Labelled {
    fn below(ceiling: Option<u64>, args: &[&str]) -> Self {
        let pairs: Vec<Value> = (0..4).map(|i| pair(&format!("{i} cats"), "No dog")).collect();
        let folder = folder_with(&pairs);
        std::fs::write(folder.path().join("reasoned.toml"), REASONED).unwrap();
        let fixed = ["label", "--in", "in.jsonl", "--out", "out.jsonl", "--model", MODEL];
        let ceiling = ceiling.map(|tokens| format!("--max-tokens={tokens}"));
        let ceiling: Vec<&str> = ceiling.iter().map(String::as_str).collect();
        let output = rlaif(folder.path(), &[&fixed[..], args, &ceiling[..]].concat());
        let ended_well = output.status.success();
        assert!(ended_well || stderr(&output).contains("raise it to go on"), "{}", stderr(&output));
        let labels = parsed(&std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap());
        Self { ended_well, labels }
    }

    /// Tokens of this kind in all labels.
    fn tokens(&self, kind: &str) -> u64 {
        let orders = self.labels.iter().flat_map(|label| [&label["order_ab"], &label["order_ba"]]);
        // Of what was not written nothing is said.
        orders.map(|order| order[kind].as_u64().unwrap_or(0)).sum()
    }
}

const REASONED: &str = r#"
    name = "reasoned"
    kind = "compare"
    layout = "text"
    preamble = "Which is better?"
    sample = "1: {response_1} 2: {response_2}"
    ending = "Better:"
    verdicts = ["1", "2"]
    [rationale]
    request = "Say why."
    begin = "Since"
"#;

#[test]
fn a_local_model_is_asked_up_to_its_ceiling_and_not_a_token_further() {
    let plain = ["--template", "sentiment/compare"];
    let takes = Labelled::below(None, &plain).tokens("prompt_tokens");
    let enough = Labelled::below(Some(takes), &plain);
    assert!(enough.ended_well);
    assert_eq!((enough.labels.len(), enough.tokens("prompt_tokens")), (4, takes));
    let scarce = Labelled::below(Some(takes - 1), &plain);
    assert!(!scarce.ended_well);
    assert_eq!(scarce.labels.len(), 3);
}

#[test]
fn the_longest_rationale_of_a_local_model_is_set_aside_and_no_more() {
    let reasoned = ["--template", "reasoned.toml", "--cot", "--max-rationale-tokens", "4"];
    let read = Labelled::below(None, &reasoned).tokens("prompt_tokens");
    // In both orders of four pairs.
    let longest = read + 8 * 4;
    let enough = Labelled::below(Some(longest), &reasoned);
    assert!(enough.ended_well && enough.labels.len() == 4);
    let wrote = enough.tokens("completion_tokens");
    assert!((8..=8 * 4).contains(&wrote), "{wrote} tokens written");
    let scarce = Labelled::below(Some(read), &reasoned);
    assert!(!scarce.ended_well && scarce.labels.len() < 4);
    let took = scarce.tokens("prompt_tokens") + scarce.tokens("completion_tokens");
    assert!(took <= read, "{took} tokens below a ceiling of {read}");
}

#[test]
fn a_warning_in_a_file_has_no_colours() {
    let folder = tempfile::tempdir().unwrap();
    let item = json!({"prompt": "Say something.", "response": "long ".repeat(600)});
    std::fs::write(folder.path().join("in.jsonl"), format!("{item}\n")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(["rate", "--in", "in.jsonl", "--template", "sentiment/rubric", "--model", MODEL])
        .current_dir(folder.path())
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    let warning = stderr(&output);
    assert!(warning.contains("could not be judged"), "{warning}");
    assert!(!warning.contains('\u{1b}'), "{warning:?}");
}

#[test]
fn a_failure_is_called_alike_in_files_and_on_the_screen() {
    let records = [pair("good", "short"), pair("bad", &"long ".repeat(600))];
    let work = ledger_of(&["label", "--template", "sentiment/compare"], &records);
    let list = rlaif(work.path(), &["labels", "list", "--unscorable", "--ledger", "l.sqlite"]);
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(text.contains("unscorable: prompt_too_long"), "{text}");
}
