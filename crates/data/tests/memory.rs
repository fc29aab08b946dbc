//! Memory does not grow with the number of records: a child's peak over a small and a large file.
#![cfg(target_os = "linux")]

use rlaif_data::{
    GroupKey, OutputFormat, Pipeline, Reader, Record, Split, Writer, convert, inspect, split,
};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const FOLDER: &str = "RLAIF_TEST_MEMORY_FOLDER";
const STEP: &str = "RLAIF_TEST_MEMORY_STEP";

/// One step after the other, each in a process of its own, so that each has a peak of its own.
const STEPS: [&str; 4] = ["to_parquet", "to_gzip", "split", "inspect"];

fn generate(path: &Path, rows: usize) {
    let mut writer = Writer::create(path, None).unwrap();
    for i in 0..rows {
        let row = json!({"prompt": format!("{i}: what is {i} plus {i}?"),
                         "chosen": format!("{i} plus {i} is {}, as everybody knows", 2 * i),
                         "rejected": format!("ask somebody else, not me, about {i}")});
        writer.write(&row.as_object().cloned().unwrap_or_else(Record::new)).unwrap();
    }
    writer.finish().unwrap();
}

fn step(name: &str, folder: &Path) {
    let open = |name: &str| Reader::open(&folder.join(name)).unwrap();
    let to = Some(OutputFormat::TrlText);
    let create = |name: &str| Writer::create(&folder.join(name), to).unwrap();
    let pipeline = Pipeline { to, ..Pipeline::default() };
    match name {
        "to_parquet" => drop(convert(open("in.jsonl"), create("a.parquet"), &pipeline).unwrap()),
        "to_gzip" => drop(convert(open("a.parquet"), create("a.jsonl.gz"), &pipeline).unwrap()),
        "split" => {
            let thirds = Split::new(GroupKey::Prompt, 1, vec![2, 1]).unwrap();
            let writers = vec![create("b.json"), create("c.parquet")];
            split(open("a.jsonl.gz"), writers, &thirds, &pipeline).unwrap();
        }
        _ => drop(inspect(open("b.json")).unwrap()),
    }
}

/// The most memory that this process has had, in kB.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What the children run; by itself it has nothing to do.
#[test]
fn child() {
    let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(STEP)) else { return };
    step(&name, Path::new(&folder));
    println!("peak {} kB", peak_kb());
}

fn peaks_kb(rows: usize) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    generate(&folder.path().join("in.jsonl"), rows);
    let peak = |name: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(STEP, name)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let peak = text.split("peak ").nth(1).and_then(|rest| rest.split(" kB").next());
        peak.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    };
    STEPS.map(peak).to_vec()
}

#[test]
fn ten_times_the_records_take_no_more_memory() {
    let (small, large) = (peaks_kb(20_000), peaks_kb(200_000));
    for ((name, small), large) in STEPS.into_iter().zip(small).zip(large) {
        // The file grows by 29 MB. Parquet gathers row groups of 50,000 rows, of which the small file
        // fills less than one; an inspection remembers 40 bytes of each of the first million records.
        let allowed = match name {
            "to_parquet" | "to_gzip" | "split" => 16 << 10,
            _ => 10 << 10,
        };
        println!("{name}: {small} kB, {large} kB");
        assert!(large < small + allowed, "{name}: {small} kB for 20,000, {large} kB for 200,000");
    }
}
