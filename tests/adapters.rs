//! LoRA adapters of PEFT: what a run trained goes out as one, and one is read wherever a model is named.
//!
//! The numbers of `golden/tiny-adapter.json` are PEFT's (`golden/peft_adapters.py make`); that PEFT computes
//! the same with an adapter written here is what `golden/peft_adapters.py check` shows.

use rlaif_testkit::TinyJob;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

fn rlaif(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeds(args: &[&str], input: &str) -> String {
    let output = rlaif(args, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refuses(args: &[&str], complaint: &str) {
    let output = rlaif(args, TEXT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(complaint), "{args:?} said: {said}");
    assert!(!said.contains("panicked"), "{args:?} said: {said}");
}

const TEXT: &str = "{\"text\": \"Tell me about the sea.\"}\n";

fn logprobs(model: &Path, input: &str) -> Vec<Vec<f64>> {
    let output = succeeds(&["logprobs", "--model", model.to_str().unwrap()], input);
    let of = |line: &str| -> Vec<f64> {
        let record: Value = serde_json::from_str(line).unwrap();
        serde_json::from_value(record["logprobs"].clone()).unwrap()
    };
    output.lines().map(of).collect()
}

/// The largest difference of two lists of log-probabilities.
fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let (a, b) = (a.concat(), b.concat());
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A run of a few steps on the tiny model; with adapters, or of all weights.
fn run(folder: &Path, lora: &str) -> PathBuf {
    let settings = format!(
        r#"
        {lora}
        [sampling]
        max_new_tokens = 8
        [rl]
        reward = "labeler"
        steps = 3
        batch_size = 4
        reinforce = {{ policy = {{ lr = 1e-2 }} }}
        "#
    );
    let (file, out) = (folder.join("job.toml"), folder.join("run"));
    TinyJob { prompts: 4, heldout_prompts: 1, ..TinyJob::default() }.write(&file, &settings);
    succeeds(&["run", file.to_str().unwrap(), "--out", out.to_str().unwrap()], "");
    out
}

#[test]
fn an_adapter_of_peft_is_a_model_with_pefts_numbers() {
    let text = std::fs::read(golden("tiny-adapter.json")).unwrap();
    let golden_texts: Vec<Value> = serde_json::from_slice(&text).unwrap();
    let lines = golden_texts.iter().map(|g| format!("{}\n", json!({"text": g["text"]})));
    let input: String = lines.collect();
    let expected = golden_texts.iter().map(|g| serde_json::from_value(g["logprobs"].clone()));
    let expected: Vec<Vec<f64>> = expected.collect::<Result<_, _>>().unwrap();
    // Sums are taken in another order than PyTorch's.
    assert!(difference(&logprobs(&golden("tiny-adapter"), &input), &expected) <= 1e-3);
    // And the adapter matters.
    assert!(difference(&logprobs(&golden("tiny-llama"), &input), &expected) > 0.1);
}

#[test]
fn what_a_run_trained_goes_out_as_an_adapter_and_comes_back_as_the_same_policy() {
    let dir = tempfile::tempdir().unwrap();
    let run =
        run(dir.path(), "lora = { rank = 2, alpha = 6.0, targets = [\"q_proj\", \"up_proj\"] }");
    let adapter = dir.path().join("adapter");
    let (from, to) = (run.to_str().unwrap(), adapter.to_str().unwrap());
    let said = succeeds(&["export", from, "--adapter", to], "");
    assert!(said.contains("trained policy") && said.contains("tiny-llama"), "{said}");

    let policy = logprobs(&run.join("checkpoints/policy"), TEXT);
    let again = logprobs(&adapter, TEXT);
    assert!(difference(&policy, &logprobs(&golden("tiny-llama"), TEXT)) > 1e-3, "nothing learned");
    // Both fold the same factors into the same weights.
    assert!(difference(&policy, &again) <= 1e-6, "{policy:?} {again:?}");

    let config = std::fs::read(adapter.join("adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(2), &json!(6)));
    assert_eq!(config["target_modules"], json!(["q_proj", "up_proj"]));

    // A folder of somebody's beside it stays as it is; what a kill left of an export does not.
    let (theirs, left) =
        (dir.path().join("adapter.partial"), dir.path().join(".adapter.rlaif-partial"));
    for folder in [&theirs, &left] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("notes"), "").unwrap();
    }
    succeeds(&["export", from, "--adapter", to, "--base", "hf:a/b@c"], "");
    assert!(theirs.join("notes").exists() && !left.exists() && !adapter.join("notes").exists());
    refuses(&["logprobs", "--model", to], "rlaif models pull hf:a/b@c");
    std::fs::remove_file(run.join("checkpoints/policy-adapter.safetensors")).unwrap();
    refuses(&["export", from, "--adapter", to], "the run is not finished");
}

#[test]
fn a_run_of_all_weights_has_no_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), "");
    refuses(&["export", run.to_str().unwrap(), "--adapter", "adapter"], "checkpoints/policy");
}

/// A copy of the golden adapter with one setting changed.
fn changed(dir: &Path, key: &str, value: Value) -> PathBuf {
    let folder = dir.join(key);
    std::fs::create_dir(&folder).unwrap();
    let from = golden("tiny-adapter");
    std::fs::copy(from.join("adapter_model.safetensors"), folder.join("adapter_model.safetensors"))
        .unwrap();
    let config = std::fs::read(from.join("adapter_config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["base_model_name_or_path"] = json!(golden("tiny-llama"));
    config[key] = value;
    std::fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn an_adapter_that_would_be_computed_wrongly_is_refused_by_the_name_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for (key, value, complaint) in [
        ("use_dora", json!(true), "use_dora = true is not supported"),
        ("bias", json!("all"), "bias = \"all\" is not supported"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save = [\"lm_head\"]"),
        ("r", json!(3), "lora_A.weight has shape"),
        ("base_model_name_or_path", json!(golden("tiny-qwen3")), "has shape"),
        ("base_model_name_or_path", json!("no/where"), "rlaif models pull hf:no/where"),
    ] {
        let folder = changed(dir.path(), key, value);
        refuses(&["logprobs", "--model", folder.to_str().unwrap()], complaint);
        std::fs::remove_dir_all(folder).unwrap();
    }
    let itself = changed(dir.path(), "base_model_name_or_path", json!("."));
    refuses(&["logprobs", "--model", itself.to_str().unwrap()], "an adapter as another one's base");
}
