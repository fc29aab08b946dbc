//! `rlaif contrast`: pairs of a model's own good and bad answers, as a job learns from them.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

/// The tiny model, that can be talked to.
fn chat_model(folder: &Path) {
    let to = folder.join("chat");
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(MODEL).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    let path = to.join("tokenizer_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}";
    config["chat_template"] = template.into();
    std::fs::write(path, config.to_string()).unwrap();
}

fn contrast(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(["contrast", "--model", "chat", "--max-new-tokens", "8"]);
    command.args(["--in", "prompts.jsonl", "--out", "pairs.jsonl"]).args(more).output().unwrap()
}

#[test]
fn each_prompt_has_a_better_and_a_worse_answer_and_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    chat_model(dir.path());
    let prompts: String = (0..5).map(|i| format!("{{\"prompt\": \"Why {i}?\"}}\n")).collect();
    std::fs::write(dir.path().join("prompts.jsonl"), prompts).unwrap();
    let made = contrast(dir.path(), &["--better", "Be good.", "--worse", "Be bad."]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = std::fs::read_to_string(dir.path().join("pairs.jsonl")).unwrap();
    let pairs: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!pairs.is_empty());
    for pair in &pairs {
        assert!(pair["prompt"].as_str().unwrap().starts_with("Why "), "{pair}");
        assert_ne!(pair["chosen"], pair["rejected"]);
        assert_eq!(pair["contrast"]["worse"], "Be bad.");
    }
    // Eight tokens are fewer than the tiny model has to say.
    let cut = pairs.iter().flat_map(|pair| [&pair["finish_a"], &pair["finish_b"]]);
    assert!(cut.clone().all(|finish| *finish == "length" || *finish == "stop"), "{pairs:?}");
    assert!(cut.clone().any(|finish| *finish == "length"), "{pairs:?}");
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    inspect.current_dir(dir.path()).args(["data", "inspect", "--in", "pairs.jsonl"]);
    let read = inspect.output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
}

#[test]
fn without_a_contrast_there_are_no_pairs() {
    let dir = tempfile::tempdir().unwrap();
    chat_model(dir.path());
    std::fs::write(dir.path().join("prompts.jsonl"), "{\"prompt\": \"Why?\"}\n").unwrap();
    let refused = contrast(dir.path(), &["--better", "Be good.", "--worse", "Be good."]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no contrast"));
}
