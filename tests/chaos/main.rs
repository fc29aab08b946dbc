//! Chaos on real processes: a job goes through every stage while labelers, the learner, the
//! coordinator and Redis are killed and frozen and poison kills whoever touches it. A checker then
//! proves from what outlives them all that nothing is missing, nothing is there twice, the dead
//! letters are the poison, everything went on in time, and files and trained weights are those of a
//! run that was left alone.
//!
//! The short storm is a test like others. The long one, with 2,000 pairs:
//!
//! ```text
//! cargo test --release --workspace --test chaos -- --ignored --nocapture
//! ```
//!
//! `RLAIF_CHAOS_SEED=7` chooses the storm.

mod checker;
mod crew;
mod eye;
mod history;
mod job;
mod plan;
mod storm;
mod tap;

use history::{History, Inflicted, Outcome};
use job::Size;
use plan::{Plan, Scale};
use rlaif_job::TaskId;
use rlaif_testkit::run_alone;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use storm::{LEASE, MAX_STARTS, Storm};

const RLAIF: &str = env!("CARGO_BIN_EXE_rlaif");

/// The one that runs everywhere.
const SHORT: Scale = Scale {
    job: Size { pairs: 121, steps: 6 },
    poison: 1,
    pace: Duration::from_millis(40),
    labelers: 3,
    labeler_kills: 5,
    labeler_freezes: 2,
    redis_kills: 1,
    coordinator_kills: 1,
};

/// The one that the promises are made of.
const LONG: Scale = Scale {
    job: Size { pairs: 2004, steps: 12 },
    poison: 4,
    pace: Duration::from_millis(25),
    labelers: 4,
    labeler_kills: 30,
    labeler_freezes: 10,
    redis_kills: 3,
    coordinator_kills: 2,
};

#[test]
fn a_short_storm_breaks_no_promise() {
    weather(&SHORT);
}

#[test]
#[ignore = "minutes: run it by its command, above"]
fn a_long_storm_breaks_no_promise() {
    weather(&LONG);
}

/// Lets a job go through a storm and judges what came of it.
fn weather(scale: &Scale) {
    let seed = std::env::var("RLAIF_CHAOS_SEED").map_or(1, |seed| seed.parse().unwrap());
    let dir = tempfile::Builder::new().prefix("rlaif-chaos-").tempdir().unwrap();
    let job = job::write(dir.path(), scale.job);
    let undisturbed = undisturbed(dir.path(), &job);
    let plan = Plan::draw(seed, scale);
    let poison: BTreeSet<String> =
        plan.poison.iter().map(|pair| TaskId::Label(*pair).to_string()).collect();

    let cluster = dir.path().join("cluster");
    let mut storm = Storm::gather(RLAIF, &cluster, &job, &poison, scale, seed);
    storm.rage(&plan);
    if !storm.is_over() {
        let surprises = &storm.surprises;
        panic!("seed {seed}: {surprises:#?}; logs are kept in {}", dir.keep().display());
    }
    let took = storm.age();
    let (inflicted, struck) = (storm.inflicted.clone(), storm.struck);
    let surprises = storm.surprises.clone();
    let (outcome, written) = storm.settle();
    let history = History {
        seed,
        took,
        lease: LEASE,
        max_starts: MAX_STARTS,
        planned: plan.faults.iter().map(|(_, fault)| *fault).collect(),
        inflicted,
        poison,
        struck,
        surprises,
        written,
        outcome,
        undisturbed,
    };
    let verdict = checker::judge(&history);
    for Inflicted { fault, victim, at, recovery } in &history.inflicted {
        let recovery = recovery.unwrap_or_default().as_secs_f64();
        println!(
            "{:8.2} s {fault:<32}{recovery:6.2} s until it went on: {victim}",
            at.as_secs_f64()
        );
    }
    println!("{verdict}");
    if !verdict.violations.is_empty() {
        panic!("promises were broken; logs are kept in {}", dir.keep().display());
    }
}

/// What the job comes to when it is left alone.
fn undisturbed(folder: &Path, job: &Path) -> Outcome {
    let run = folder.join("alone");
    run_alone(RLAIF, job, &run);
    let read = |file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    let (preferences, manifest) = (read("preferences.jsonl"), read("manifest.json"));
    Outcome::read(&run.join("journal.redb"), "alone", &run, &preferences, &manifest)
}
