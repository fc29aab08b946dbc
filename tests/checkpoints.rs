//! Training that is killed at twenty random moments ends with the weights of training that was left alone;
//! a checkpoint that does not fit on the disk stops a run, and the one before it is gone on from.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_testkit::TinyJob;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const KILLS: usize = 20;

fn write_job(folder: &Path, rank: usize, steps: usize) {
    let settings = format!(
        r#"
        chunk_size = 4
        lora = {{ rank = {rank} }}
        [sampling]
        max_new_tokens = 8
        [rl]
        reward = "labeler"
        steps = {steps}
        batch_size = 8
        checkpoint_every = 3
        reinforce = {{ policy = {{ lr = 1e-3 }}, value = {{ lr = 1e-3 }} }}
        "#
    );
    TinyJob::default().write(&folder.join("job.toml"), &settings);
}

fn rlaif(folder: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(["run", "job.toml", "--out"]).arg(out);
    if out.exists() {
        command.arg("--resume");
    }
    command
}

/// A run that no file may outgrow `blocks` of 512 bytes of. The shell passes on that the signal for it is
/// ignored, so that writes fail as on a full disk.
fn on_a_small_disk(folder: &Path, out: &Path, blocks: usize) -> Output {
    let run = rlaif(folder, out);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""));
    shell.arg(run.get_program()).args(run.get_args()).current_dir(folder).output().unwrap()
}

fn succeeded(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Steps that a run has recorded.
fn steps_made(out: &Path) -> usize {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"policy\"")).count()
}

/// Everything that a run leaves, by hash; and the weights themselves.
fn left_by(out: &Path) -> (Value, Vec<u8>) {
    let file = |name: &str| std::fs::read(out.join(name)).unwrap();
    let manifest = serde_json::from_slice(&file("manifest.json")).unwrap();
    (manifest, file("checkpoints/policy/model.safetensors"))
}

/// Goes on with a run until it has made `more` steps, and kills it `wait` later. False where it ended first.
fn killed_after(folder: &Path, out: &Path, more: usize, wait: Duration) -> bool {
    let enough = steps_made(out) + more;
    let mut run = rlaif(folder, out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while steps_made(out) < enough {
        if run.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(Instant::now() < deadline, "step {enough} was never made");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(wait);
    run.kill().unwrap();
    run.wait().unwrap();
    true
}

fn two_runs(folder: &Path) -> [PathBuf; 2] {
    ["whole", "broken"].map(|name| folder.join(name))
}

#[test]
fn twenty_kills_at_random_steps_leave_the_weights_of_training_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 2, 60);
    let [whole, broken] = two_runs(dir.path());
    succeeded(rlaif(dir.path(), &whole));

    let mut random = ChaCha8Rng::seed_from_u64(20);
    let mut killed = Vec::new();
    while killed.len() < KILLS {
        // Before a step, while it is made, while its version or checkpoint is written.
        let (more, wait) = (random.random_range(0..3), random.random_range(0..40));
        let alive = killed_after(dir.path(), &broken, more, Duration::from_millis(wait));
        assert!(alive, "the run ended after {} kills, at steps {killed:?}", killed.len());
        killed.push(steps_made(&broken));
    }
    succeeded(rlaif(dir.path(), &broken));
    assert_eq!(left_by(&whole), left_by(&broken), "killed at steps {killed:?}");
}

#[test]
fn a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_one_before_it_to_go_on_from() {
    let dir = tempfile::tempdir().unwrap();
    // States take 13 MB then, versions 2 MB, all else less.
    write_job(dir.path(), 512, 8);
    let [whole, broken] = two_runs(dir.path());
    succeeded(rlaif(dir.path(), &whole));

    assert!(killed_after(dir.path(), &broken, 4, Duration::ZERO));
    let good = broken.join("state/policy-00000003.safetensors");
    let before = std::fs::read(&good).unwrap();
    let stopped = on_a_small_disk(dir.path(), &broken, 8 << 11);
    let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(!stopped.status.success(), "the run had room after all");
    let file = broken.canonicalize().unwrap().join("state/policy-00000006.safetensors");
    assert!(said.contains(file.to_str().unwrap()), "what could not be written, and where: {said}");
    assert!(said.contains("too large"), "why: {said}");
    assert!(said.contains("make room there and resume"), "the way out: {said}");
    assert!(std::fs::read(&good).unwrap() == before, "the last good checkpoint is as it was");
    assert!(!broken.join("state/policy-00000006.safetensors").exists(), "half a checkpoint");
    succeeded(rlaif(dir.path(), &broken));
    assert!(left_by(&whole) == left_by(&broken), "gone on with, it is as if the disk had had room");
}
