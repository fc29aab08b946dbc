//! What a job takes, or a reward model without one, is said before it starts, and what does not fit is refused before
//! anything is touched.

use rlaif_testkit::{TINY_MODEL, TinyJob};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A job on the tiny model, with more settings of `[rl]`.
fn job(folder: &Path, more: &str) -> PathBuf {
    let settings = format!(
        r#"
        [rl]
        reward = "labeler"
        steps = 3
        batch_size = 4
        {more}
        "#
    );
    let file = folder.join("job.toml");
    TinyJob { prompts: 4, heldout_prompts: 1, ..TinyJob::default() }.write(&file, &settings);
    file
}

/// Whether the command succeeded, and what it said on standard error.
fn rlaif(job: &Path, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    let output = command.arg("run").arg(job).args(args).output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_estimate_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), "");
    let out = dir.path().join("run");
    let (fits, said) = rlaif(&job, &["--estimate", "--out", out.to_str().unwrap()]);
    let about = said.split_once("memory     about ").and_then(|(_, about)| about.split_once(' '));
    let (amount, rest) = about.expect("an amount");
    assert!(amount.parse::<u64>().is_ok() && rest.starts_with("MB, "), "{said}");
    assert!(fits && said.contains("are free"), "{said}");
    assert!(!out.exists());
}

#[test]
fn a_job_that_does_not_fit_is_refused_with_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), "micro_batch_tokens = 400_000");
    let out = dir.path().join("run");
    let out = out.to_str().unwrap();
    let (fits, said) = rlaif(&job, &["--max-memory", "300MB", "--out", out]);
    assert!(!fits, "{said}");
    for part in [
        "of memory, while the policy learns (",
        "it may take 300 MB",
        "with rl.micro_batch_tokens = 100000",
        "with rl.gradient_checkpointing = true",
        "--max-memory any",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!Path::new(out).exists(), "the folder is as it was");
    let (fits, said) = rlaif(&job, &["--max-memory", "any", "--estimate"]);
    assert!(fits && said.contains("it may take any"), "{said}");
    let (fits, said) = rlaif(&job, &["--max-memory", "lots"]);
    assert!(!fits && said.contains("no amount of memory"), "{said}");
}

#[test]
fn a_reward_model_that_does_not_fit_is_refused_before_it_is_trained() {
    let dir = tempfile::tempdir().unwrap();
    let pair =
        |i: usize| format!("{{\"prompt\": \"{i}?\", \"chosen\": \"yes\", \"rejected\": \"no\"}}\n");
    std::fs::write(dir.path().join("pairs.jsonl"), (0..16).map(pair).collect::<String>()).unwrap();
    let reward = |command: &str, args: &[&str]| {
        let mut reward = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        reward.args(["reward", command, "--in", "pairs.jsonl", "--heldout", "0.5"]);
        reward.args(["--model", TINY_MODEL]);
        let output = reward.args(args).current_dir(dir.path()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let large = ["--micro-batch-tokens", "400000", "--max-memory", "300MB", "--out", "out.html"];
    for command in ["train", "curve"] {
        let (fits, said) = reward(command, &large);
        assert!(!fits, "{command}: {said}");
        for part in [
            "the training takes about",
            "of memory, while the reward model learns (",
            "it may take 300 MB",
            "with --micro-batch-tokens 100000",
            "with --gradient-checkpointing",
            "with --lora-rank",
            "--max-memory any",
        ] {
            assert!(said.contains(part), "{command}: {part}: {said}");
        }
        assert!(!dir.path().join("out.html").exists(), "{command}");
    }
    let (fits, said) = reward("train", &["--max-memory", "300MB", "--out", "small"]);
    assert!(fits && said.contains("it may take 300 MB"), "{said}");
}

/// A stand-in for the driver's tool, on the path of the command.
fn nvidia_smi(folder: &Path, script: &str) -> String {
    // Written by a process of its own: nobody else then has it open for writing when it is started.
    let write =
        format!("printf '%s\\n' '#!/bin/sh' '{script}' > nvidia-smi && chmod +x nvidia-smi");
    let written = Command::new("sh").current_dir(folder).args(["-c", &write]).status().unwrap();
    assert!(written.success());
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_job_that_does_not_fit_on_its_gpus_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = job(dir.path(), "micro_batch_tokens = 400_000");
    let path = nvidia_smi(
        dir.path(),
        "case \"$*\" in *--id=0) echo 300;; *--id=7) echo 80000;; *) echo \"[N/A]\";; esac",
    );
    let run = |device: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.env("PATH", &path).env_remove("CUDA_VISIBLE_DEVICES");
        command.arg("run").arg(&file).args(["--device", device]).args(more);
        command.arg("--out").arg(dir.path().join("run"));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let refused = |said: &str| said.contains("the job takes about");
    let said = run("cuda:0", &[]);
    for part in ["of memory on cuda:0, ", "and 315 MB are free", "with rl.gradient_checkpointing"] {
        assert!(refused(&said) && said.contains(part), "{part}: {said}");
    }
    let said = run("cuda:7", &["--training-replicas", "cuda:0"]);
    assert!(refused(&said) && said.contains("of memory on cuda:0, while it takes part"), "{said}");
    // What is not refused goes on to a GPU that is not there.
    let said = run("cuda:7", &[]);
    assert!(!refused(&said) && said.contains(" on cuda:7, "), "{said}");
    assert!(said.contains("83.9 GB are free"), "{said}");
    let said = run("cuda:6", &[]);
    assert!(!refused(&said) && said.contains("how much cuda:6 has free is not known"), "{said}");
}
