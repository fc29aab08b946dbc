//! The cluster as its users run it: real processes over a real Redis, some of them killed. A job leaves
//! there what `rlaif run` leaves, and one trace.

mod processes;
mod trace;

use processes::{Cluster, rlaif, write_job};
use rlaif_testkit::free_port;
use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

/// What `rlaif run` leaves.
fn manifest_of_one_process(folder: &Path) -> Value {
    let out = folder.join("alone");
    let status = rlaif()
        .arg("run")
        .arg(folder.join("job.toml"))
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn a_job_leaves_the_same_whoever_works_on_it_and_whoever_is_killed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), 4);
    let job = dir.path().join("job.toml");
    let alone = manifest_of_one_process(dir.path());

    // A collector of traces that never answers, and below one that is not there: neither is felt.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector = format!("http://{}", hanging.local_addr().unwrap());
    let one = Cluster::start(&dir.path().join("one"), 1, &collector);
    let id = one.submit(&job);
    assert_eq!(one.submit(&job), id, "the same job submitted twice is one job");
    assert_eq!(one.manifest(&id), alone);
    drop(one);

    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut three = Cluster::start(&dir.path().join("three"), 3, &dead);
    let id = three.submit(&job);
    three.wait_until("labeling", |cluster| cluster.labels(&id) >= 8);
    // SIGKILL: nobody says goodbye.
    drop(three.workers.pop());
    three.wait_until("labeling on", |cluster| cluster.labels(&id) >= 24);
    drop(three.coordinator.take());
    three.start_coordinator();
    three.wait_until("labeling after a restart", |cluster| cluster.labels(&id) >= 48);
    three.redis.kill();
    three.redis.restart();
    assert_eq!(three.manifest(&id), alone);
}
