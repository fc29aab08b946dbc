//! Whatever is wrong with the input: one clear message, a non-zero exit, no panic.

use rlaif_testkit::{TINY_MODEL, TinyJob};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/tiny-llama")
}

fn rlaif(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its options does not wait for its input.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The run fails, says `complaint`, and does not panic.
#[track_caller]
fn refuses(args: &[&str], input: &str, complaint: &str) {
    let output = rlaif(args, input);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} succeeded");
    assert!(message.contains(complaint), "{args:?} said: {message}");
    assert!(!message.contains("panicked"), "{args:?} said: {message}");
}

/// A copy of the tiny model to damage.
fn copy() -> tempfile::TempDir {
    copy_of(&tiny())
}

fn copy_of(model: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

const TEXT: &str = "{\"text\": \"hello\"}\n";

#[test]
fn files_that_are_not_there() {
    let model = tiny();
    let model = model.to_str().unwrap();
    refuses(&["logprobs", "--model", "no/such/model"], TEXT, "no/such/model");
    refuses(&["logprobs", "--model", "hf:owner"], TEXT, "hf:owner/name");
    refuses(&["models", "pull", "no-such-name"], "", "smollm2-135m-instruct");
    refuses(&["logprobs", "--model", model, "--in", "no-such.jsonl"], "", "no-such.jsonl");
    refuses(&["label", "--model", model, "--template", "no/such"], "", "summary/base");
    refuses(&["run", "no-such-job.toml"], "", "no-such-job.toml");
}

#[test]
fn lines_that_are_not_records_are_named() {
    let model = tiny();
    let model = model.to_str().unwrap();
    refuses(&["logprobs", "--model", model], "{\"text\": \"a\"}\n{\"text\": \n", "<stdin>:2");
    refuses(&["logprobs", "--model", model], "{\"prompt\": \"a\"}\n", "<stdin>:1: field \"text\"");
    refuses(
        &["label", "--model", model],
        "{\"prompt\": \"a\", \"response_a\": \"x\"}\n",
        "response_b",
    );
    refuses(&["label", "--model", model], "", "no records");
}

#[test]
fn what_a_dataset_cannot_become() {
    let convert = |args: &[&str], input: &str, complaint: &str| {
        refuses(&[&["data", "convert"][..], args].concat(), input, complaint);
    };
    let post = "{\"post\": \"I lost my keys.\"}\n";
    convert(&["--shuffle-sides", "1"], post, "--shuffle-sides: ");
    convert(&["--to", "sft"], post, "<stdin>:1: this record has a prompt and no response");
    convert(&["--to", "trl"], post, "<stdin>:1: this record has not two responses");
}

#[test]
fn what_is_said_of_exemplars_that_are_not_shown() {
    let model = tiny();
    let model = model.to_str().unwrap();
    for option in ["--random-exemplars", "--exemplar-rationales"] {
        refuses(&["label", "--model", model, option], "", "shots = 0 shows none");
    }
}

#[test]
fn names_that_promise_another_container() {
    for name in ["out.parquet", "out.jsonl.gz"] {
        for tool in ["label", "rate", "generate"] {
            refuses(&[tool, "--model", "none", "--out", name], "", "`rlaif data convert`");
        }
    }
}

#[test]
fn prompts_longer_than_the_context() {
    let model = tiny();
    let long = format!("{{\"text\": \"{}\", \"prompt\": \"{0}\"}}\n", "z".repeat(2000));
    for tool in ["logprobs", "generate"] {
        refuses(&[tool, "--model", model.to_str().unwrap()], &long, "context");
    }
}

#[test]
fn a_gpu_that_is_not_there() {
    let model = tiny();
    refuses(
        &["logprobs", "--model", model.to_str().unwrap(), "--device", "cuda:7"],
        TEXT,
        "cuda:7",
    );
    refuses(&["logprobs", "--model", model.to_str().unwrap(), "--device", "tpu"], TEXT, "cuda:N");
}

#[test]
fn bf16_on_the_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("out"));
    let settings = "precision = 'bf16'\nrl = { reward = 'labeler', steps = 1, batch_size = 2 }\n";
    TinyJob::default().write(&job, settings);
    let run = ["run", job.to_str().unwrap(), "--out", out.to_str().unwrap()];
    refuses(&run, "", "precision = \"bf16\" needs a GPU");
    assert!(!out.exists(), "a run folder was made for a job that cannot run");
}

#[test]
fn a_demonstration_of_no_token() {
    let (model, dir) = (copy(), tempfile::tempdir().unwrap());
    for (file, key) in [("config.json", "eos_token_id"), ("tokenizer_config.json", "eos_token")] {
        let path = model.path().join(file);
        let mut settings: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        settings[key] = Value::Null;
        std::fs::write(path, settings.to_string()).unwrap();
    }
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("out"));
    let settings = "sft = { epochs = 1 }\nrl = { reward = 'labeler', steps = 1, batch_size = 2 }\n";
    TinyJob { demonstrations: 1, ..TinyJob::default() }.write(&job, settings);
    let policy = std::fs::read_to_string(&job).unwrap();
    let policy = policy.replacen(TINY_MODEL, model.path().to_str().unwrap(), 1);
    std::fs::write(&job, policy).unwrap();
    let empty = "{\"prompt\": \"Say 1\", \"completion\": \"\"}\n";
    std::fs::write(dir.path().join("demonstrations.jsonl"), empty).unwrap();
    let run = ["run", job.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let complaint = "data/demonstrations.jsonl: of 1 demonstrations not one can be learned from";
    refuses(&run, "", complaint);
}

#[test]
fn damaged_and_lying_weights() {
    let model = copy();
    let weights = model.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let path = model.path().to_str().unwrap();
    let try_with = |bytes: &[u8], complaint: &str| {
        std::fs::write(&weights, bytes).unwrap();
        refuses(&["logprobs", "--model", path], TEXT, complaint);
    };
    try_with(&bytes[..bytes.len() / 2], "model.safetensors");
    try_with(&[], "model.safetensors");
    // A header that claims to be larger than any memory.
    let mut lying = bytes.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    try_with(&lying, "model.safetensors");
}

/// A copy of a golden model whose last norm is no number any more, as after a division by zero.
fn of_nan(model: &str) -> tempfile::TempDir {
    let copy = copy_of(&tiny().with_file_name(model));
    let weights = copy.path().join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    // The length of a header, the header, which says where each tensor is behind it, the tensors.
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let place = &tensors["model.norm.weight"]["data_offsets"];
    let [begin, end] = [0_usize, 1].map(|i| header + place[i].as_u64().unwrap() as usize);
    for number in bytes[begin..end].chunks_exact_mut(4) {
        number.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&weights, bytes).unwrap();
    copy
}

#[test]
fn a_policy_whose_weights_are_no_numbers() {
    let (model, dir) = (of_nan("tiny-llama"), tempfile::tempdir().unwrap());
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("out"));
    let settings = "rl = { reward = 'labeler', steps = 1, batch_size = 2 }\n";
    TinyJob::default().write(&job, settings);
    let policy = std::fs::read_to_string(&job).unwrap();
    std::fs::write(&job, policy.replacen(TINY_MODEL, model.path().to_str().unwrap(), 1)).unwrap();
    let output = rlaif(&["run", job.to_str().unwrap(), "--out", out.to_str().unwrap()], "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let complaint =
        "the policy gives its tokens probabilities that are not numbers; the weights of";
    assert!(said.contains(complaint) && said.contains("are damaged"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_reward_model_whose_weights_are_no_numbers() {
    let model = of_nan("tiny-reward");
    let item = "{\"prompt\": \"Say it\", \"response\": \"Yes.\"}\n";
    let output = rlaif(&["reward", "score", "--model", model.path().to_str().unwrap()], item);
    let said = String::from_utf8_lossy(&output.stderr);
    // As whatever cannot be scored: the record says why, and has no number that somebody may take for a reward.
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("records that could not be scored: 1"), "{said}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(record["reward"].is_null(), "{record}");
    assert_eq!(record["unscored"]["reason"], "no_verdict", "{record}");
    assert_eq!(record["unscored"]["detail"], "the reward model's output is not a number");
}

#[test]
fn lying_gguf_headers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let header = |tensors: u64, entries: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes
    };
    for bytes in
        [header(u64::MAX, 0), header(0, u64::MAX), header(1, 0), b"GGUF".to_vec(), b"not".to_vec()]
    {
        std::fs::write(&path, bytes).unwrap();
        refuses(&["logprobs", "--model", path.to_str().unwrap()], TEXT, "model.gguf");
    }
}

#[test]
fn configurations_that_do_not_fit() {
    let edit = |file: &str, from: &str, to: &str, complaint: &str| {
        let model = copy();
        let path = model.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        refuses(&["logprobs", "--model", model.path().to_str().unwrap()], TEXT, complaint);
    };
    edit("config.json", "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"", "mamba");
    edit("config.json", "\"hidden_size\": 32", "\"hidden_size\": 64", "shape");
    // More tokens than the embedding has rows: the tokenizer of another model.
    edit("config.json", "\"vocab_size\": 304", "\"vocab_size\": 100", "");
}

#[test]
fn a_job_with_nothing_to_work_on() {
    let dir = tempfile::tempdir().unwrap();
    let model = tiny();
    let job = format!(
        "name = 't'\npolicy = {{ model = '{0}', chat = false }}\n\
         labeler = {{ model = '{0}', template = 'sentiment/rubric' }}\n\
         data = {{ prompts = 'p.jsonl', heldout_prompts = 'p.jsonl' }}\n\
         rl = {{ reward = 'labeler', steps = 1, batch_size = 2 }}\n",
        model.display()
    );
    std::fs::write(dir.path().join("job.toml"), job).unwrap();
    std::fs::write(dir.path().join("p.jsonl"), "\n").unwrap();
    let job = dir.path().join("job.toml");
    let out = dir.path().join("out");
    refuses(&["run", job.to_str().unwrap(), "--out", out.to_str().unwrap()], "", "no prompts");
    assert!(!out.exists(), "a run folder was made for a job that cannot run");
}

/// What it writes nobody reads, as behind `| head`.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    for args in [&["templates", "list"][..], &["data", "convert", "--help"], &["models", "list"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        let output = command.args(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

/// A device that refuses every write stands in for a full disk.
#[test]
fn a_full_disk() {
    let model = tiny();
    refuses(
        &["logprobs", "--model", model.to_str().unwrap(), "--out", "/dev/full"],
        TEXT,
        "/dev/full",
    );
}
