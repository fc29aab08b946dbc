//! What a job takes is said before it starts, and a job that does not fit is refused before anything is touched.

use rlaif_testkit::TinyJob;
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
    assert!(fits && said.contains("memory     about 0.") && said.contains("are free"), "{said}");
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
        "it may take 0.3 GB",
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
