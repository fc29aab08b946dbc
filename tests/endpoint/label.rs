//! `rlaif label` through a storm of kills. `RLAIF_LABEL_ITEMS=100000` makes it the long one; see
//! CONTRIBUTING.md.

use crate::{Scene, lines};
use rlaif_testkit::Faults;
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const KILLS: u64 = 6;
/// What an answer of the oracle takes.
const TOKENS_AN_ANSWER: u64 = 101;
/// Requests on their way at a time, as the oracle's description has it, and answers that are put on record
/// together.
const IN_HAND: u64 = 32 + 8;
/// What memory may grow by between the first fifth and the end.
const GROWTH_KIB: u64 = 32 * 1024;

fn items() -> u64 {
    let set = std::env::var("RLAIF_LABEL_ITEMS").ok();
    set.map_or(3_000, |items| items.parse().expect("RLAIF_LABEL_ITEMS is a number"))
}

fn args(run: &str) -> String {
    format!(
        "label --in pairs.jsonl --model oracle.toml --template helpful/base --ledger {run}.sqlite \
         --out {run}.jsonl"
    )
}

fn label(scene: &Scene, run: &str) -> Child {
    let mut command = scene.rlaif(&args(run));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn write_pairs(scene: &Scene, items: u64) {
    let pair = |i| json!({"prompt": format!("Why {i}?"), "response_a": "So.", "response_b": "No."});
    let pairs: String = (0..items).map(|i| format!("{}\n", pair(i))).collect();
    scene.write("pairs.jsonl", &pairs);
}

/// Kills the child as soon as so many questions are answered.
fn kill_at(scene: &Scene, mut child: Child, questions: u64) {
    while scene.oracle.questions() < questions {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The child's peak resident memory; none when it has ended.
fn peak_kib(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().strip_suffix(" kB")?.parse().ok()
}

/// Waits until the child has ended well; says how much memory it had at its peak after a fifth of the
/// questions, and at the end.
fn watched(scene: &Scene, mut child: Child, items: u64) -> (u64, u64) {
    let (mut early, mut late) = (0, 0);
    loop {
        if let Some(peak) = peak_kib(&child) {
            if scene.oracle.questions() < 2 * items / 5 {
                early = peak;
            }
            late = peak;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (early, late);
        }
        sleep(Duration::from_millis(10));
    }
}

/// What a line says, without the words of a failure: they have times in them.
fn essence(mut line: Value) -> Value {
    if let Some(unscorable) = line.get_mut("unscorable") {
        *unscorable = unscorable["reason"].clone();
    }
    line
}

#[test]
fn killed_and_resumed_it_leaves_what_it_leaves_undisturbed_and_pays_once() {
    let items = items();
    let scene = Scene::new(Faults { one_in: 40, mute_one_in: 300 });
    write_pairs(&scene, items);

    let started = Instant::now();
    let (early, late) = watched(&scene, label(&scene, "whole"), items);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{items} pairs in {seconds:.1} s ({:.0} pairs/s, {} requests), peak memory {} MiB after a \
         fifth, {} MiB at the end",
        items as f64 / seconds,
        scene.oracle.requests(),
        early / 1024,
        late / 1024
    );
    assert!(late - early < GROWTH_KIB, "memory grows: {early} to {late} KiB");
    assert_eq!(scene.oracle.repeated(), 0, "something was paid twice");
    let whole: Vec<Value> = lines(&scene.path("whole.jsonl")).into_iter().map(essence).collect();
    assert_eq!(whole.len() as u64, items);
    let unscorable = whole.iter().filter(|line| line.get("unscorable").is_some()).count();
    assert!(unscorable > 0, "the faults were not felt");
    assert!(
        whole
            .iter()
            .all(|line| line.get("unscorable").is_some() != line.get("soft_label").is_some())
    );

    scene.oracle.forget();
    for kill in 1..=KILLS {
        kill_at(&scene, label(&scene, "killed"), kill * 2 * items / (KILLS + 1));
    }
    watched(&scene, label(&scene, "killed"), items);
    let killed: Vec<Value> = lines(&scene.path("killed.jsonl")).into_iter().map(essence).collect();
    assert_eq!(killed.len(), whole.len());
    let other = whole.iter().zip(&killed).find(|(whole, killed)| whole != killed);
    assert_eq!(other, None, "a killed run leaves other labels");
    // What was in hand at a kill. An answer that is there is kept, also while the other order of its pair
    // cannot be had.
    let expected = KILLS * IN_HAND;
    let paid_twice = scene.oracle.repeated();
    println!("{KILLS} kills: {paid_twice} answers paid twice, {expected} may be");
    assert!(paid_twice <= expected, "{paid_twice} answers paid twice, {expected} may be");
}

#[test]
fn what_a_killed_run_paid_is_told_and_counts_under_the_next_ceiling() {
    let scene = Scene::new(Faults::default());
    write_pairs(&scene, 1_000);
    // In the middle of what is asked together first, most likely: no label is on record yet.
    kill_at(&scene, label(&scene, "killed"), 100);

    let stats = |more: &str| {
        let stats = scene.rlaif(&format!("labels stats --ledger killed.sqlite{more}")).output();
        String::from_utf8(stats.unwrap().stdout).unwrap()
    };
    let told: Value = serde_json::from_str(&stats(" --json")).unwrap();
    // By now those on their way at the kill are answered, too.
    let answered = scene.oracle.questions();
    let count = |name: &str| told["usage"][name].as_u64().unwrap();
    let spent = count("prompt_tokens") + count("completion_tokens");
    assert!(spent >= TOKENS_AN_ANSWER * (answered - IN_HAND), "{spent} for {answered} answers");
    let unsettled = told["unsettled"].as_u64().unwrap();
    let kept = format!("{unsettled} answers kept, not yet part of a label");
    assert_eq!(stats("").contains(&kept), unsettled > 0, "{}", stats(""));

    let go_on = format!("{} --max-tokens {spent}", args("killed"));
    let refused = scene.rlaif(&go_on).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("raise it to go on"), "{said}");
    assert_eq!(scene.oracle.questions(), answered, "it paid beyond its ceiling");
    let again: Value = serde_json::from_str(&stats(" --json")).unwrap();
    assert_eq!(again["usage"], told["usage"], "what was paid for is counted twice");
}
