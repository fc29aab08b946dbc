//! Processes that die while they record: what was acknowledged is there, once, and the file opens.

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_ledger::{Entry, Filter, Ledger, Reader};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::comparison;

const FILE: &str = "RLAIF_TEST_LEDGER";
const FIRST: &str = "RLAIF_TEST_FIRST";
const BATCH: u32 = 7;

/// The child: records batches from a number on and acknowledges each, until something stops it.
#[test]
#[ignore = "runs in a process of its own, started by the tests below"]
fn child_records_until_it_is_stopped() {
    let (Ok(path), Ok(first)) = (std::env::var(FILE), std::env::var(FIRST)) else { return };
    let mut ledger = Ledger::open(path).unwrap();
    let first: u32 = first.parse().unwrap();
    for start in (first..first + 100_000).step_by(BATCH as usize) {
        let batch: Vec<Entry> = (start..start + BATCH).map(comparison).collect();
        if let Err(error) = ledger.record(&batch) {
            println!("\nrefused {error}");
            return;
        }
        println!("\nacknowledged {start}");
        std::io::stdout().flush().unwrap();
    }
}

fn child(command: &mut Command, path: &Path, first: u32) -> std::process::Child {
    command
        .args(["--exact", "child_records_until_it_is_stopped", "--ignored", "--nocapture"])
        .env(FILE, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn this_program() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

/// First numbers of the batches that lines acknowledge.
fn acknowledged(lines: &str) -> Vec<u32> {
    lines.lines().filter_map(|l| l.strip_prefix("acknowledged ")?.parse().ok()).collect()
}

/// Each acknowledged batch is there whole; nothing is there twice, and no batch in part.
fn check(path: &Path, acknowledged: &[u32]) {
    let reader = Reader::open(path).unwrap();
    let entries: Vec<Entry> = reader.entries(Filter::default()).collect::<Result<_, _>>().unwrap();
    let ids: HashSet<_> = entries.iter().map(|entry| &entry.label_id).collect();
    assert_eq!(ids.len(), entries.len(), "a label is there twice");
    for number in acknowledged.iter().flat_map(|start| *start..start + BATCH) {
        assert!(ids.contains(&comparison(number).label_id), "label {number} is lost");
    }
    assert_eq!(entries.len() % BATCH as usize, 0, "a batch is there in part");
}

#[test]
fn what_was_acknowledged_outlives_kills_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.db");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut all, mut next) = (Vec::new(), 0);
    for kill in 0..24 {
        let mut child = child(&mut Command::new(this_program()), &path, next);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        // Some die while they open the file, others after some batches and a bit.
        if kill % 6 != 5 {
            let batches = rng.random_range(1..20);
            while acknowledged(&said).len() < batches {
                assert_ne!(out.read_line(&mut said).unwrap(), 0, "the child ended: {said}");
            }
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        out.read_to_string(&mut said).unwrap();
        let done = acknowledged(&said);
        next = done.last().map_or(next, |start| start + BATCH);
        all.extend(done);
        if path.exists() {
            // What a kill between commit and acknowledgement left is asked again: the first stands.
            drop(Ledger::open(&path).unwrap());
            check(&path, &all);
        }
    }
    assert!(all.len() > 24, "{} batches were recorded", all.len());
}

#[test]
fn a_disk_that_fills_up_stops_the_run_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.db");
    // No file may grow beyond a limit; the shell passes on that the signal for it is ignored, so
    // that writes fail as on a full disk.
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\"").arg(this_program());
    let output = child(&mut shell, &path, 0).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let refusal = said.lines().find_map(|line| line.strip_prefix("refused "));
    let refusal = refusal.expect("the child runs out of room");
    assert!(refusal.contains("may grow no further"), "{refusal}");
    let done = acknowledged(&said);
    assert!(!done.is_empty(), "{said}");
    drop(Ledger::open(&path).unwrap());
    check(&path, &done);
}
