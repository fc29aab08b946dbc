//! `rlaif reproduce`: from an experiment's file to the paper's table, and on after an interruption.

use rlaif_template::Template;
use rlaif_testkit::{TINY_MODEL, TinyJob};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn write_experiment(folder: &Path) {
    let own = Template { name: "own".into(), ..Template::load("sentiment/rubric").unwrap() };
    std::fs::write(folder.join("own.toml"), own.to_toml()).unwrap();
    for (name, algorithm) in [("again", "grpo"), ("rlaif", "reinforce"), ("ppo", "ppo")] {
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
            algorithm = "{algorithm}"
            group_size = 2
            steps = 2
            batch_size = 4
            [evaluate]
            templates = ["own.toml"]
            "#
        );
        let job = TinyJob { heldout_prompts: 6, demonstrations: 6, ..TinyJob::default() };
        job.write(&folder.join(format!("{name}.toml")), &settings);
    }
    let experiment = format!(
        r#"
        name = "tiny"
        prompts = "heldout.jsonl"
        judge = "{TINY_MODEL}"
        template = "sentiment/compare"
        arm = [
            {{ name = "sft", job = "rlaif.toml", policy = "start" }},
            {{ name = "rlaif", job = "rlaif.toml" }},
            {{ name = "ppo", job = "ppo.toml" }},
            {{ name = "again", job = "again.toml" }},
        ]
        follows = {{ "again.toml" = "ppo.toml" }}
        comparison = [
            {{ arm = "rlaif", over = "sft", paper = 63, paper_length_corrected = 61 }},
            {{ arm = "ppo", over = "rlaif" }},
        ]
        "#
    );
    std::fs::write(folder.join("experiment.toml"), experiment).unwrap();
}

fn reproduce(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command
        .current_dir(folder)
        .args(["reproduce", ".", "--out", "out"])
        .args(more)
        .output()
        .unwrap()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_arm_is_run_once_and_the_table_has_the_papers_figures_beside_ours() {
    let dir = tempfile::tempdir().unwrap();
    write_experiment(dir.path());
    let unknown = reproduce(dir.path(), &["--arm", "dpo"]);
    assert!(said(&unknown).contains("the arms are sft, rlaif, ppo, again"), "{}", said(&unknown));
    assert!(!dir.path().join("out").exists());

    let one = reproduce(dir.path(), &["--arm", "sft"]);
    assert!(one.status.success(), "{}", said(&one));
    assert!(dir.path().join("out/runs/rlaif/report.html").exists());
    assert!(!dir.path().join("out/runs/ppo").exists() && !dir.path().join("out/table.md").exists());

    let all = reproduce(dir.path(), &[]);
    assert!(all.status.success(), "{}", said(&all));
    assert!(said(&all).contains("rlaif.toml: finished"), "{}", said(&all));
    let table = std::fs::read_to_string(dir.path().join("out/table.md")).unwrap();
    let row = |starts: &str| table.lines().find(|line| line.contains(starts)).unwrap_or_default();
    let against_sft = row("rlaif over sft");
    assert!(against_sft.contains("| 63 | 61 |") && against_sft.contains('['), "{table}");
    assert!(row("ppo over rlaif").contains("| - | - |"), "{table}");
    // Only what the table compares was judged.
    let evaluation: Value = read_json(&dir.path().join("out/evaluation/matrix.json"));
    assert_eq!(evaluation["matrix"]["head_to_heads"].as_array().unwrap().len(), 2);
    // The judge labelled the training: the table says so.
    assert!(table.contains("name another --judge"), "{table}");

    // What goes on where another ended was labelled by its own start, and the manifest proves it.
    let manifest = |run: &str| -> Value {
        read_json(&dir.path().join("out/runs").join(run).join("manifest.json"))
    };
    let [first, second] = ["ppo", "again"].map(manifest);
    assert_eq!(first["policy_hash"], first["labeler_hash"]);
    assert_eq!(second["policy_hash"], second["labeler_hash"]);
    assert_ne!(second["policy_hash"], first["policy_hash"], "it did not go on from the other");

    let again = reproduce(dir.path(), &[]);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(std::fs::read_to_string(dir.path().join("out/table.md")).unwrap(), table);

    what_is_edited_after_it_ran_is_refused(dir.path());
}

/// Of an experiment whose runs are all finished.
fn what_is_edited_after_it_ran_is_refused(folder: &Path) {
    let refused_after = |file: &str, from: &str, to: &str| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let output = reproduce(folder, &[]);
        std::fs::write(&path, text).unwrap();
        assert!(!output.status.success(), "an edit of {file} was not noticed");
        said(&output)
    };
    let why = refused_after("rlaif.toml", "steps = 2", "steps = 3");
    for what in ["out/runs/rlaif holds", "rl.steps is 3 and was 2", "remove that folder"] {
        assert!(why.contains(what), "{what} is not in {why}");
    }
    let why = refused_after("prompts.jsonl", "Tell me", "Tell us");
    assert!(why.contains("prompts.jsonl is not the data/prompts.jsonl"), "{why}");
    let why = refused_after("own.toml", "name = \"own\"", "name = \"mine\"");
    assert!(why.contains("own.toml is not the template that it asked by"), "{why}");
    // As if what it went on from had been run again.
    let manifest = read_json(&folder.join("out/runs/again/manifest.json"));
    let began_with = manifest["policy_hash"].as_str().unwrap();
    let other = began_with.chars().rev().collect::<String>();
    let why = refused_after("out/runs/again/manifest.json", began_with, &other);
    assert!(why.contains("out/runs/again went on from another policy than"), "{why}");
    // As if everything had been moved here: what counts is what files and models are, not where they lay.
    let job = folder.join("out/runs/again/job.toml");
    let text = std::fs::read_to_string(&job).unwrap();
    let elsewhere =
        text.replace("/out/runs/ppo/", "/there/ppo/").replace("/own.toml", "/there/own.toml");
    assert!(elsewhere.contains("/there/ppo/") && elsewhere.contains("/there/own.toml"), "{text}");
    std::fs::write(&job, elsewhere).unwrap();
    let output = reproduce(folder, &["--arm", "again"]);
    std::fs::write(&job, text).unwrap();
    assert!(said(&output).contains("again.toml: finished"), "{}", said(&output));
    // A run of an earlier version, whose job lacks a setting that has a default.
    let job = folder.join("out/runs/ppo/job.toml");
    let text = std::fs::read_to_string(&job).unwrap();
    let older = text.lines().filter(|line| !line.starts_with("samples_per_prompt"));
    let older = older.map(|line| format!("{line}\n")).collect::<String>();
    assert_ne!(older, text);
    std::fs::write(&job, older).unwrap();
    let output = reproduce(folder, &["--arm", "ppo"]);
    assert!(said(&output).contains("ppo.toml: finished"), "{}", said(&output));
}
