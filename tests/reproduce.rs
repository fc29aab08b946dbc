//! `rlaif reproduce`: from an experiment's file to the paper's table, and on after an interruption.

use rlaif_job::strip_trailing_junk;
use rlaif_template::Template;
use rlaif_testkit::{TINY_MODEL, TinyJob};
use serde_json::{Value, json};
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

/// The best of two and of six draws of where `rating.toml` begins, by the reward model of `people.toml`; the first job
/// trains none.
fn write_best_of(folder: &Path) {
    let settings = |rl: &str| {
        format!(
            r#"
            chunk_size = 4
            lora = {{ rank = 2 }}
            sampling = {{ max_new_tokens = 6 }}
            [rl]
            steps = 1
            batch_size = 4
            {rl}
            "#
        )
    };
    let rating = TinyJob { heldout_prompts: 6, ..TinyJob::default() };
    rating.write(&folder.join("rating.toml"), &settings("reward = 'labeler'"));
    let people = TinyJob { template: "sentiment/compare", preferences: 8, ..rating };
    let learned = "reward = 'model'\n[reward_model]\nlabels = 'human'\nheldout_fraction = 0.4\nepochs = 6\n\
        batch_size = 4\noptimizer = { lr = 1e-2 }";
    people.write(&folder.join("people.toml"), &settings(learned));
    let [two, six] = [2, 6].map(best_of);
    let experiment = format!(
        r#"
        name = "rejection sampling"
        prompts = "heldout.jsonl"
        judge = "{TINY_MODEL}"
        template = "sentiment/compare"
        arm = [
            {{ name = "start", job = "rating.toml", policy = "start" }},
            {{ name = "of-2", job = "rating.toml", policy = "start", {two} }},
            {{ name = "of-6", job = "rating.toml", policy = "start", {six} }},
        ]
        comparison = [
            {{ arm = "of-2", over = "start" }},
            {{ arm = "of-6", over = "start" }},
        ]
        "#
    );
    std::fs::write(folder.join("experiment.toml"), experiment).unwrap();
}

fn best_of(draws: usize) -> String {
    format!("best_of = {{ draws = {draws}, reward = \"people.toml\" }}")
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn rlaif(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(args).output().unwrap()
}

fn reproduce(folder: &Path, more: &[&str]) -> Output {
    rlaif(folder, &[&["reproduce", ".", "--out", "out"][..], more].concat())
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
    // The judge labelled the training: the table says so, in either form, as rlaif eval does.
    let page = std::fs::read_to_string(dir.path().join("out/table.html")).unwrap();
    let cautioned = "also labelled what an arm was trained on";
    assert!(table.contains(cautioned) && page.contains(cautioned), "{table}");
    // Ours is by another regressor than the paper's: the table says where the paper's stands, and it does.
    let report = std::fs::read_to_string(dir.path().join("out/evaluation/report.md")).unwrap();
    for text in [&table, &report] {
        assert!(text.contains("length-corrected (ratio)"), "{text}");
    }
    assert!(table.contains("by the logarithm of the ratio of lengths"), "{table}");

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

#[test]
fn an_arm_may_be_the_best_of_several_draws_by_a_jobs_reward_model() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    write_best_of(folder);
    // Both jobs are what the arm needs: where it starts, and who chooses.
    let one = reproduce(folder, &["--arm", "of-2"]);
    assert!(one.status.success(), "{}", said(&one));
    for run in ["rating", "people"] {
        assert!(folder.join("out/runs").join(run).join("report.html").exists(), "{run}");
    }
    let all = reproduce(folder, &[]);
    assert!(all.status.success(), "{}", said(&all));
    let table = std::fs::read_to_string(folder.join("out/table.md")).unwrap();
    for row in ["of-2 over start", "of-6 over start"] {
        assert!(table.lines().any(|line| line.contains(row) && line.contains('[')), "{table}");
    }

    let responses = |arm: &str| {
        let path = folder.join("out/evaluation/responses").join(format!("{arm}.jsonl"));
        read_lines(&path)
    };
    let (two, six) = (responses("of-2"), responses("of-6"));
    let score = |line: &Value| line["score"].as_f64().unwrap();
    // What is scored together decides the last bits.
    let rounding = 1e-3;
    // The score is the reward of that job's model, for the response as the judge sees it.
    let answers = six.iter().map(|line| {
        let response = strip_trailing_junk(line["output"].as_str().unwrap());
        format!("{}\n", json!({"prompt": line["instruction"], "response": response}))
    });
    std::fs::write(folder.join("answers.jsonl"), answers.collect::<String>()).unwrap();
    let model = ["--model", "out/runs/people/checkpoints/reward"];
    let files = ["--in", "answers.jsonl", "--out", "scored.jsonl"];
    let scored = rlaif(folder, &[&["reward", "score"][..], &model, &files].concat());
    assert!(scored.status.success(), "{}", said(&scored));
    let rewards = read_lines(&folder.join("scored.jsonl"));
    assert_eq!((six.len(), rewards.len()), (6, 6));
    for (line, scored) in six.iter().zip(&rewards) {
        let reward = scored["reward"].as_f64().unwrap();
        assert!((score(line) - reward).abs() < rounding, "{line} {scored}");
    }
    // The first two of the six draws are those of the arm with two, so the best of six can only be better.
    let both: Vec<(f64, f64)> =
        two.iter().zip(&six).map(|(two, six)| (score(two), score(six))).collect();
    assert!(both.iter().all(|(two, six)| *six >= two - rounding), "{both:?}");
    assert!(both.iter().any(|(two, six)| *six > two + rounding), "{both:?}");

    // `rlaif eval` by itself draws, scores and chooses the same.
    let arm = "of-2=best-of:2,start-of:out/runs/rating,reward=out/runs/people";
    let arms = ["--arm", arm, "--arm", "start=start-of:out/runs/rating"];
    let asked = ["--prompts", "heldout.jsonl", "--judge", TINY_MODEL];
    let how = ["--template", "sentiment/compare", "--out", "by-itself"];
    let by_itself = rlaif(folder, &[&["eval"][..], &arms, &asked, &how].concat());
    assert!(by_itself.status.success(), "{}", said(&by_itself));
    assert_eq!(read_lines(&folder.join("by-itself/responses/of-2.jsonl")), two);

    // No run is made again for an edited number of draws, but the arm's answers and its contests are.
    edit(&folder.join("experiment.toml"), "draws = 2", "draws = 6");
    let edited = reproduce(folder, &[]);
    assert!(edited.status.success(), "{}", said(&edited));
    for job in ["rating.toml: finished", "people.toml: finished"] {
        assert!(said(&edited).contains(job), "{}", said(&edited));
    }
    let texts = |lines: &[Value]| -> Vec<Value> {
        lines.iter().map(|line| line["output"].clone()).collect()
    };
    assert_eq!(texts(&responses("of-2")), texts(&six));
    let evaluation = read_json(&folder.join("out/evaluation/matrix.json"));
    let counts = |arm: &str| {
        let met = evaluation["matrix"]["head_to_heads"].as_array().unwrap();
        let met = met.iter().find(|pair| pair["first"] == arm && pair["second"] == "start");
        let met = met.unwrap_or_else(|| panic!("{arm} never met start: {evaluation}"));
        ["wins", "losses", "ties", "unscorable"].map(|what| met[what].as_u64().unwrap())
    };
    assert_eq!(counts("of-2"), counts("of-6"));
}

#[test]
fn the_best_of_draws_that_nobody_could_choose_from_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    write_best_of(dir.path());
    let file = dir.path().join("experiment.toml");
    let [none, one, two] = [0, 1, 2].map(best_of);
    for (bad, what) in [
        (none.as_str(), "\"of-2\" is the best of 0; best_of.draws has to be at least 2"),
        (one.as_str(), "\"of-2\" is the best of 1; best_of.draws has to be at least 2"),
        ("best_of = { draws = 2 }", "missing field `reward`"),
        ("best_of = { reward = \"people.toml\" }", "missing field `draws`"),
        ("reward = \"people.toml\"", "unknown field `reward`"),
        (
            "best_of = { draws = 2, reward = \"rating.toml\" }",
            "the arm \"of-2\" is chosen by the reward model of rating.toml, which trains none",
        ),
        ("best_of = { draws = 2, reward = \"nobody.toml\" }", "nobody.toml"),
    ] {
        edit(&file, &two, bad);
        let refused = reproduce(dir.path(), &[]);
        assert!(!refused.status.success(), "{bad} was not refused");
        assert!(said(&refused).contains(what), "{what} is not in {}", said(&refused));
        edit(&file, bad, &two);
    }
    assert!(!dir.path().join("out").exists());
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
