//! A step made again from its record measures what it measured, to the bit; what was tampered with, what was
//! never made, and what is no run, is told.

use rlaif_testkit::TinyJob;
use std::path::Path;
use std::process::{Command, Output};

/// Fine-tuned first, so that the steps start from the run's own model; rollouts are drawn a step ahead.
fn write_job(folder: &Path, rl: &str) {
    let settings = format!(
        r#"
        chunk_size = 4
        lora = {{ rank = 2 }}
        [sampling]
        max_new_tokens = 6
        [sft]
        batch_size = 3
        [rl]
        reward = "labeler"
        steps = 5
        batch_size = 6
        checkpoint_every = 2
        {rl}
        "#
    );
    let job = TinyJob { demonstrations: 6, ..TinyJob::default() };
    job.write(&folder.join("job.toml"), &settings);
}

fn rlaif(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rlaif")).current_dir(folder).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_step_made_again_measures_what_it_measured() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), "reinforce = { max_off_policy_steps = 1, policy = { lr = 1e-3 } }");
    let run = rlaif(dir.path(), &["run", "job.toml", "--out", "out"]);
    assert!(run.status.success(), "{}", said(&run));
    let file = |name: &str| std::fs::read(dir.path().join("out").join(name)).unwrap();
    let model = file("checkpoints/policy/model.safetensors");
    // In the middle, and the last, whose model is not to be saved again.
    for step in ["3", "5"] {
        let replay = rlaif(dir.path(), &["replay", "out", "--step", step]);
        assert!(replay.status.success(), "{}", said(&replay));
        let shown = String::from_utf8_lossy(&replay.stdout).into_owned();
        assert!(shown.contains("objective/kl") && shown.contains("value_loss"), "{shown}");
        assert!(!shown.contains("differs"), "{shown}");
    }
    assert_eq!(file("checkpoints/policy/model.safetensors"), model);

    let metrics = String::from_utf8(file("metrics.jsonl")).unwrap();
    let first = metrics.lines().find(|line| line.contains("\"policy\"")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(first).unwrap();
    record["loss"] = serde_json::json!(1.5);
    let tampered = metrics.replace(first, &record.to_string());
    std::fs::write(dir.path().join("out/metrics.jsonl"), tampered).unwrap();
    let replay = rlaif(dir.path(), &["replay", "out", "--step", "1"]);
    assert!(!replay.status.success());
    assert!(said(&replay).contains("1 figures of steps 1 to 1 came out otherwise"));
    let shown = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert!(shown.lines().any(|l| l.starts_with("loss ") && l.ends_with("differs")), "{shown}");
}

#[test]
fn a_step_is_made_again_from_a_journal_and_artifacts_that_lie_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), "reinforce = { policy = { lr = 1e-3 } }");
    let run = rlaif(dir.path(), &["run", "job.toml", "--out", "out"]);
    assert!(run.status.success(), "{}", said(&run));
    // As a cluster has them.
    let moved = |from: &str, to: &str| {
        let to = dir.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(dir.path().join(from), to).unwrap();
    };
    moved("out/journal.redb", "backup/journal.redb");
    moved("out/checkpoints", "backup/artifacts/out/checkpoints");
    let journal = ["--step", "2", "--journal", "backup/journal.redb"];
    let replay = |run: &str, more: &[&str]| {
        rlaif(dir.path(), &[&["replay", run][..], &journal[..], more].concat())
    };
    let no_start = replay("out", &[]);
    assert!(said(&no_start).contains("taking the start of the policy from"), "{}", said(&no_start));
    let made = replay("out", &["--artifacts", "backup/artifacts"]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(!String::from_utf8_lossy(&made.stdout).contains("differs"));
    moved("out", "renamed");
    let unknown = replay("renamed", &[]);
    assert!(said(&unknown).contains("no job that renamed is the folder of"), "{}", said(&unknown));
}

#[test]
fn a_step_at_which_the_run_stopped_stops_again() {
    let dir = tempfile::tempdir().unwrap();
    let rl = "max_kl_per_token = 0.05\nreinforce = { beta = 0.0, policy = { lr = 1.0 } }";
    write_job(dir.path(), rl);
    assert!(!rlaif(dir.path(), &["run", "job.toml", "--out", "out"]).status.success());
    let replay = rlaif(dir.path(), &["replay", "out", "--step", "2"]);
    assert!(said(&replay).contains("policy step 2: the policy is"), "{}", said(&replay));
    let beyond = rlaif(dir.path(), &["replay", "out", "--step", "6"]);
    assert!(said(&beyond).contains("--step: the run has steps 1 to 5, not 6"), "{}", said(&beyond));
    let nothing = rlaif(dir.path(), &["replay", ".", "--step", "1"]);
    assert!(said(&nothing).contains("no journal"), "{}", said(&nothing));
}
