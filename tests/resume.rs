//! A run that is killed with SIGKILL in every stage and resumed makes the same files, byte for byte,
//! as one that was left alone, and labels no pair twice.

use rlaif_testkit::TinyJob;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PAIRS: usize = 64;

fn write_job(folder: &Path) {
    let settings = format!(
        r#"
        seed = 3
        lora = {{ rank = 2 }}
        [sampling]
        max_new_tokens = 8
        [sft]
        epochs = 4
        batch_size = 6
        optimizer = {{ lr = 1e-3 }}
        [reward_model]
        pairs = {PAIRS}
        heldout_fraction = 0.25
        epochs = 4
        batch_size = 8
        optimizer = {{ kind = "adafactor", lr = 1e-3 }}
        staleness = {{ every = 6, pairs = 20 }}
        [rl]
        reward = "model"
        steps = 20
        batch_size = 8
        checkpoint_every = 3
        selection = {{ every = 5, candidates = 2, prompts = 16 }}
        # Steps are learned from while the next one's rollouts are drawn.
        reinforce = {{ max_off_policy_steps = 1, policy = {{ lr = 1e-3 }}, value = {{ lr = 1e-3 }} }}
        "#
    );
    let job = TinyJob {
        template: "sentiment/compare",
        prompts: 48,
        heldout_prompts: 48,
        demonstrations: 24,
        ..TinyJob::default()
    };
    job.write(&folder.join("job.toml"), &settings);
}

fn start(folder: &Path, out: &Path, resume: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    // As a user would: from the job's own folder.
    command.current_dir(folder).args(["run", "job.toml", "--out"]).arg(out);
    if resume {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// How far a stage is, as its files show it.
fn progress(out: &Path, stage: &str) -> usize {
    let chunks = |file: &str| lines(&out.join(file)).len() / 16;
    match stage {
        "sample" => chunks("pairs.jsonl"),
        "label" => chunks("labels.jsonl"),
        "evaluate" => chunks("evaluation.jsonl"),
        "staleness" => lines(&out.join("staleness.jsonl")).len() / 20,
        "policy" | "selection" => {
            let metrics = lines(&out.join("metrics.jsonl"));
            metrics.iter().filter(|record| record["stage"] == stage).count()
        }
        // One long task, whose records come at its end; until then it has a state to go on from.
        long => usize::from(out.join(format!("state/{long}.safetensors")).exists()),
    }
}

/// Waits until a stage is under way, and kills the run there.
fn kill_within(mut child: Child, out: &Path, stage: &str, at: usize) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while progress(out, stage) < at {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run ended before it could be killed in {stage}"
        );
        assert!(Instant::now() < deadline, "{stage} never began");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn manifest(out: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn killed_in_every_stage_and_resumed_equals_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path());
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    assert!(start(dir.path(), &whole, false).wait().unwrap().success());

    let stages = [
        ("sft", 1),
        ("sample", 1),
        ("label", 1),
        ("reward", 1),
        ("policy", 5),
        ("staleness", 2),
        ("selection", 4),
        ("evaluate", 1),
    ];
    for (number, (stage, at)) in stages.into_iter().enumerate() {
        kill_within(start(dir.path(), &broken, number > 0), &broken, stage, at);
    }
    assert!(start(dir.path(), &broken, true).wait().unwrap().success());

    assert_eq!(manifest(&whole), manifest(&broken));
    let labels = lines(&broken.join("labels.jsonl"));
    let ids: BTreeSet<String> = labels.iter().map(|l| l["label_id"].to_string()).collect();
    assert_eq!((labels.len(), ids.len()), (PAIRS, PAIRS));
    let journal = lines(&broken.join("journal.jsonl"));
    let labelled = journal.iter().filter(|e| e["stage"] == "label");
    let labelled: u64 = labelled.map(|e| e["count"].as_u64().unwrap()).sum();
    assert!(labelled <= PAIRS as u64, "{labelled} labels were made for {PAIRS} pairs");
    for report in ["report.md", "report.html"] {
        assert!(broken.join(report).exists());
    }
}

#[test]
fn a_folder_with_a_run_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path());
    let out = dir.path().join("out");
    kill_within(start(dir.path(), &out, false), &out, "label", 1);
    let before = lines(&out.join("labels.jsonl")).len();
    assert!(!start(dir.path(), &out, false).wait().unwrap().success());
    assert_eq!(lines(&out.join("labels.jsonl")).len(), before);
}
