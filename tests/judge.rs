//! A job that names its own judge, by the program: training asks the labeler and the comparison at its end the judge,
//! on one account, each at its own price.

use rlaif_ledger::{Filter, Outcomes, Reader};
use rlaif_testkit::{ANOTHER_TINY_MODEL, TINY_MODEL, TinyJob};
use rlaif_types::Money;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What trains, and what judges: by it the two are told apart in the ledger.
const TRAINS: &str = "sentiment/compare";
const JUDGES: &str = "sentiment/review";

/// A job of these settings whose labeler has this price, if any.
fn write_job(folder: &Path, price: &str, settings: &str) -> PathBuf {
    let file = folder.join("job.toml");
    let settings = format!(
        r#"
        chunk_size = 4
        lora = {{ rank = 2 }}
        sampling = {{ max_new_tokens = 6 }}
        [evaluate]
        templates = ["{JUDGES}"]
        [reward_model]
        pairs = 8
        epochs = 1
        batch_size = 4
        [rl]
        reward = "model"
        steps = 2
        batch_size = 4
        {settings}
        "#
    );
    TinyJob { template: TRAINS, ..TinyJob::default() }.write(&file, &settings);
    let asked = format!("\"{TRAINS}\"");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen(&asked, &format!("{asked}{price}"), 1)).unwrap();
    file
}

/// `[evaluate.judge]`, and whatever else is said of it.
fn judge(model: &str, more: &str) -> String {
    format!("[evaluate.judge]\nmodel = {model:?}\n{more}\n")
}

fn rlaif(job: &Path, args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_rlaif")).arg("run").arg(job).args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(model: &str, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(model).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Runs the job; its run folder, its manifest, and what it said on standard error.
fn ran(job: &Path) -> (PathBuf, Value, String) {
    let out = job.with_file_name("out");
    let said = stderr(&rlaif(job, &["--out", out.to_str().unwrap()]));
    let manifest = std::fs::read(out.join("manifest.json")).unwrap();
    (out, serde_json::from_slice(&manifest).unwrap(), said)
}

#[test]
fn the_judge_judges_and_the_labeler_labels_each_at_its_own_price() {
    let dir = tempfile::tempdir().unwrap();
    let selection = "[rl.selection]\nevery = 1\ncandidates = 2\nprompts = 2\n";
    let judged = judge(ANOTHER_TINY_MODEL, "price = { input_per_1k = 2 }");
    let job =
        write_job(dir.path(), ", price = { input_per_1k = 1 }", &format!("{selection}{judged}"));
    let (out, manifest, said) = ran(&job);
    let hash = |name: &str| manifest[name].as_str().unwrap().to_owned();
    let (labeler, judge) = (hash("labeler_hash"), hash("judge_hash"));
    assert_ne!(labeler, judge);

    let labels = std::fs::read_to_string(out.join("labels.jsonl")).unwrap();
    let labels: Vec<Value> =
        labels.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!labels.is_empty() && labels.iter().all(|label| label["labeler_hash"] == *labeler));
    let ledger = Reader::open(out.join("labels.sqlite")).unwrap();
    let asked = ledger.entries(Filter { outcomes: Outcomes::All, ..Filter::default() });
    let mut by_template: Vec<(String, String)> = asked
        .map(|entry| entry.unwrap().setup)
        .map(|setup| (setup.template, setup.model_hash.to_string()))
        .collect();
    by_template.sort();
    by_template.dedup();
    let expected = [(TRAINS, labeler), (JUDGES, judge.clone())];
    assert_eq!(by_template, expected.map(|(template, hash)| (template.to_owned(), hash)));

    for spending in ledger.spent().unwrap() {
        let thousandth = Money::parse("0.001").unwrap();
        let price = if spending.template == JUDGES { 2 } else { 1 };
        assert_eq!(spending.cost, thousandth.times(price * spending.usage.prompt_tokens));
    }

    // Nobody is cautioned of, before or after.
    assert!(manifest.get("cautions").is_none(), "{manifest}");
    assert!(!said.contains("judges what it taught"), "{said}");
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains(&judge) && report.contains(", judge "), "{report}");
    assert!(!report.contains("Cautions"), "{report}");
}

#[test]
fn a_labeler_that_judges_what_it_taught_is_cautioned_of_by_whatever_name() {
    let dir = tempfile::tempdir().unwrap();
    let (_, manifest, said) = ran(&write_job(dir.path(), "", ""));
    let cautions = |manifest: &Value| manifest["cautions"].to_string();
    assert!(cautions(&manifest).contains("is also the labeler that the policy learned from"));
    assert!(manifest.get("judge_hash").is_none(), "{manifest}");
    assert!(said.contains("judges what it taught") && said.contains("evaluate.judge"), "{said}");

    // Copied to another place it is the same model.
    let dir = tempfile::tempdir().unwrap();
    let again = dir.path().join("independent");
    copy(TINY_MODEL, &again);
    let (_, manifest, _) = ran(&write_job(dir.path(), "", &judge(again.to_str().unwrap(), "")));
    assert_eq!(manifest["judge_hash"], manifest["labeler_hash"]);
    assert!(cautions(&manifest).contains("is also the labeler that the policy learned from"));
}

#[test]
fn an_estimate_counts_the_judge_at_its_own_price() {
    let dir = tempfile::tempdir().unwrap();
    let estimated = |price: &str| {
        let judged = judge(ANOTHER_TINY_MODEL, &format!("price = {{ input_per_1k = {price} }}"));
        let job = write_job(dir.path(), ", price = { input_per_1k = 1 }", &judged);
        let said = String::from_utf8(rlaif(&job, &["--estimate"]).stdout).unwrap();
        assert!(said.contains(&format!("{TINY_MODEL} and {ANOTHER_TINY_MODEL}")), "{said}");
        let (_, total) = said.split_once("all together at most ").unwrap();
        Money::parse(total.split(' ').next().unwrap()).unwrap()
    };
    let [free, cheap, dear] = ["0", "1", "3"].map(estimated);
    assert!(free < cheap && cheap < dear, "{free} {cheap} {dear}");
}

#[test]
fn an_estimate_finds_an_endpoint_among_the_models_as_the_run_does() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let endpoint = "base_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\n";
    std::fs::write(models.join("gpt.toml"), endpoint).unwrap();
    let job = write_job(dir.path(), "", &judge("gpt.toml", ""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.arg("run").arg(&job).arg("--estimate").env("RLAIF_MODELS", &models);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(" and gpt.toml, with responses of "), "{said}");
}

#[test]
fn models_of_one_name_with_two_prices_are_refused_but_where_a_table_says_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let namesake = dir.path().join(Path::new(TINY_MODEL).file_name().unwrap());
    copy(ANOTHER_TINY_MODEL, &namesake);
    let judged = judge(namesake.to_str().unwrap(), "price = { input_per_1k = 2 }");
    let job = write_job(dir.path(), ", price = { input_per_1k = 1 }", &judged);
    let estimate = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.arg("run").arg(&job).arg("--estimate").args(args).output().unwrap()
    };
    let refused = estimate(&[]);
    assert!(!refused.status.success() && stderr(&refused).contains("are both called"));
    let prices = dir.path().join("prices.toml");
    std::fs::write(&prices, "[prices.local]\ninput_per_1k = 1.0\n").unwrap();
    let told = estimate(&["--prices", prices.to_str().unwrap()]);
    assert!(told.status.success(), "{}", stderr(&told));
}
