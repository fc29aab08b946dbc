//! The drill of `docs/how-to/backup-and-restore.md`, by the very commands that stand there: a backup is taken while a
//! job runs, everything is lost, and what is restored ends as if nothing had happened.

use super::processes::{Crewed, RLAIF, write_job};
use rlaif_testkit::{free_port, run_alone};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/how-to/backup-and-restore.md");

/// The page's commands under a heading.
fn commands(heading: &str) -> String {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let section = page.split(&format!("\n## {heading}\n")).nth(1).expect("the heading is there");
    let block = section.split("```sh\n").nth(1).expect("it has commands");
    block.split("```").next().unwrap().to_owned()
}

/// Runs them as an operator does, told where everything is.
fn follow(heading: &str, variables: &[(&str, &Path)], coordinator: Option<u32>) {
    let mut shell = Command::new("sh");
    shell.args(["-eu", "-c", &commands(heading)]).envs(variables.iter().copied());
    shell.envs(coordinator.map(|id| ("COORDINATOR_PID", id.to_string())));
    let output = shell.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{heading}: {said}");
}

#[test]
fn a_job_whose_cluster_is_lost_is_restored_from_a_backup_and_ends_with_the_same_labels_and_manifest()
 {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 4);
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("alone"));
    run_alone(RLAIF, &job, &out);
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let alone: Value = serde_json::from_str(&read(&out.join("manifest.json"))).unwrap();

    let [data, artifacts, backup] =
        ["data", "artifacts", "backup"].map(|name| dir.path().join(name));
    let collector = format!("http://127.0.0.1:{}", free_port());
    let mut crewed = Crewed::start_apart(&data, &artifacts, 2, &collector);
    let id = crewed.cluster.submit(&job);
    crewed.wait_until("labeling", |crewed| crewed.labels(&id) >= 24);

    let places = [
        ("DATA", data.as_path()),
        ("ARTIFACTS", artifacts.as_path()),
        ("BACKUP", backup.as_path()),
    ];
    let (began, labels) = (Instant::now(), crewed.labels(&id));
    follow("Back up", &places, Some(crewed.cluster.coordinator().id()));
    let took = began.elapsed();
    // The job goes on, past what the backup knows.
    crewed.wait_until("labeling after the backup", |crewed| crewed.labels(&id) >= labels + 40);
    let lost = crewed.labels(&id);

    crewed.workers.clear();
    crewed.cluster.kill_coordinator();
    crewed.cluster.redis.lose_everything();
    for folder in [&data, &artifacts] {
        std::fs::remove_dir_all(folder).unwrap();
    }
    follow("Restore", &places, None);
    let restored = crewed.labels(&id);
    assert!((labels..lost).contains(&restored), "{restored} labels of {labels} to {lost}");
    crewed.cluster.start_coordinator();
    for kind in ["rollout", "reward", "learner", "labeler"] {
        crewed.start_worker(kind);
    }

    assert_eq!(crewed.manifest(&id), alone);
    let labels = read(&crewed.cluster.run_folder(&id).join("labels.jsonl"));
    assert_eq!(labels.lines().count(), 160);
    assert!(labels == read(&out.join("labels.jsonl")), "the labels differ");
    eprintln!(
        "backed up in {took:.2?} at {restored} labels, lost at {lost}, ended with all 160, the same as undisturbed"
    );
}
