//! The cluster as its users run it: real processes over a real Redis, some of them killed. A job leaves
//! there what `rlaif run` leaves, and one trace; its steps can be made again; it is measured as the reference says,
//! restored from a backup, and all of its services are replaced under its callers.

mod judge;
mod metrics;
mod processes;
mod restore;
mod rolling;
mod trace;

use processes::{Crewed, RLAIF, write_job};
use rlaif_testkit::{free_port, run_alone};
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;

#[test]
fn a_job_leaves_the_same_whoever_works_on_it_and_whoever_is_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 4);
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("alone"));
    run_alone(RLAIF, &job, &out);
    let alone = std::fs::read(out.join("manifest.json")).unwrap();
    let alone: Value = serde_json::from_slice(&alone).unwrap();

    // A collector of traces that never answers, and below one that is not there: neither is felt.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}", hanging.local_addr().unwrap());
    let one = Crewed::start(&dir.path().join("one"), 1, &collector);
    let id = one.cluster.submit(&job);
    assert_eq!(one.cluster.submit(&job), id, "the same job submitted twice is one job");
    assert_eq!(one.manifest(&id), alone);
    let (run, journal) = (one.cluster.run_folder(&id), one.cluster.folder().join("journal.redb"));
    drop(one);
    let mut replay = Command::new(RLAIF);
    replay.arg("replay").arg(run).args(["--step", "3", "--journal"]).arg(journal);
    let made = replay.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut three = Crewed::start(&dir.path().join("three"), 3, &dead);
    let id = three.cluster.submit(&job);
    three.wait_until("labeling", |crewed| crewed.labels(&id) >= 8);
    // SIGKILL: nobody says goodbye.
    drop(three.workers.pop());
    three.wait_until("labeling on", |crewed| crewed.labels(&id) >= 24);
    three.cluster.kill_coordinator();
    three.cluster.start_coordinator();
    three.wait_until("labeling after a restart", |crewed| crewed.labels(&id) >= 48);
    three.cluster.redis.kill();
    three.cluster.redis.restart();
    assert_eq!(three.manifest(&id), alone);
}
