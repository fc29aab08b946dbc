//! Every algorithm and every source of rewards from a job file to a report, by the program itself; and
//! the same bits when it is done again.

use rlaif_testkit::TinyJob;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const STEPS: usize = 3;

fn write_job(folder: &Path, template: &str, rl: &str) {
    let settings = format!(
        r#"
        seed = 3
        chunk_size = 4
        lora = {{ rank = 2 }}
        [sampling]
        max_new_tokens = 6
        [rl]
        steps = {STEPS}
        batch_size = 6
        checkpoint_every = 2
        {rl}
        "#
    );
    // A file that no stage reads is refused.
    let are_given = settings.contains("'preferences'") || settings.contains("labels = '");
    let preferences = if are_given { 7 } else { 0 };
    let demonstrations = if settings.contains("[sft]") { 6 } else { 0 };
    let job = TinyJob { template, preferences, demonstrations, ..TinyJob::default() };
    job.write(&folder.join("job.toml"), &settings);
}

fn run(folder: &Path, out: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.current_dir(folder).args(["run", "job.toml", "--out", out]).output().unwrap()
}

fn succeeded(output: &Output, what: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
}

/// The policy's records of a finished run.
fn metrics(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["stage"] == "policy").collect()
}

#[test]
fn each_runs_from_its_job_file_to_its_report_and_leaves_the_same_bits_again() {
    let rating = "sentiment/rubric";
    let compare = "sentiment/compare";
    for (name, template, rl, measures) in [
        ("reinforce", rating, "reward = 'labeler'", "value_loss"),
        (
            "rloo",
            rating,
            "reward = 'labeler'\nalgorithm = 'rloo'\ngroup_size = 3\nshaping.normalise = 'running'",
            "shaped_reward",
        ),
        (
            "grpo",
            compare,
            "reward = 'pairwise'\nalgorithm = 'grpo'\ngroup_size = 3\ngrpo.epochs = 2",
            "clip_ratio/region_mean",
        ),
        (
            "ppo",
            rating,
            "reward = 'labeler'\nalgorithm = 'ppo'\nadaptive_kl.target = 1.0\nppo.minibatches = 2",
            "beta",
        ),
        (
            "online dpo",
            compare,
            "reward = 'pairwise'\nalgorithm = 'online_dpo'\ngroup_size = 2\nonline_dpo.loss = 'ipo'",
            "rewards/accuracies",
        ),
        ("dpo", compare, "reward = 'preferences'\nalgorithm = 'dpo'", "rewards/margins"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write_job(dir.path(), template, rl);
        for out in ["one", "two"] {
            succeeded(&run(dir.path(), out), name);
        }
        let records = metrics(&dir.path().join("one"));
        assert_eq!(records.len(), STEPS, "{name}");
        assert!(records.iter().all(|record| record[measures].is_number()), "{name}: {records:?}");
        let file = |out: &str, file: &str| std::fs::read(dir.path().join(out).join(file)).unwrap();
        for left in ["manifest.json", "checkpoints/policy/model.safetensors"] {
            assert_eq!(file("one", left), file("two", left), "{name}: {left}");
        }
        let report = String::from_utf8(file("one", "report.md")).unwrap();
        assert!(report.contains("Reinforcement learning"), "{name}: {report}");
        assert_eq!(report.contains("Samples by step"), name != "dpo", "{name}: {report}");
    }
}

#[test]
fn a_reward_model_of_peoples_labels_alone_or_beside_the_labelers_says_what_it_learned_from() {
    for (labels, sources) in [("human", &["human"][..]), ("mixed", &["ai", "human"])] {
        let dir = tempfile::tempdir().unwrap();
        let rl = format!(
            "reward = 'model'\n[reward_model]\nlabels = '{labels}'\npairs = 8\n\
             heldout_fraction = 0.4\nbatch_size = 4"
        );
        write_job(dir.path(), "sentiment/compare", &rl);
        succeeded(&run(dir.path(), "out"), labels);
        let report = std::fs::read_to_string(dir.path().join("out/report.md")).unwrap();
        for source in ["ai", "human"] {
            let said = report.contains(&format!("held-out {source} labels"));
            assert_eq!(said, sources.contains(&source), "{labels}: {report}");
        }
        assert_eq!(dir.path().join("out/labels.jsonl").exists(), labels == "mixed");
        // One model is policy, labeler and judge; people's labels alone are not its teaching.
        assert!(report.contains("the policy began as: models like their own"), "{report}");
        assert_eq!(report.contains("the labeler that the policy learned from"), labels == "mixed");
    }
}

/// A job whose reward model learns eight pairs, each with these labels, and asks for no others.
fn write_job_of_labels(folder: &Path, labels: &str) {
    let rl = "reward = 'model'\n[reward_model]\nlabels = 'ai'\npairs = 0\nheldout_fraction = 0.4\n\
        batch_size = 4";
    write_job(folder, "sentiment/compare", rl);
    let line = |i: usize| {
        format!(
            "{{\"prompt\": \"Say {i}\", \"response_a\": \"It is {i}.\", \"response_b\": \"No.\", {labels}}}\n"
        )
    };
    let lines: String = (0..8).map(line).collect();
    std::fs::write(folder.join("preferences.jsonl"), lines).unwrap();
}

#[test]
fn a_reward_model_may_learn_labels_that_a_model_gave_before_and_asks_for_no_others() {
    let dir = tempfile::tempdir().unwrap();
    // As `rlaif label` leaves them; people thought otherwise.
    write_job_of_labels(dir.path(), "\"soft_label\": 0.25, \"human_label\": 1.0");
    succeeded(&run(dir.path(), "out"), "given labels");
    let report = std::fs::read_to_string(dir.path().join("out/report.md")).unwrap();
    assert!(report.contains("Trained on 5 labels. On 3 held-out labels"), "{report}");
    let stages = std::fs::read(dir.path().join("out/stages.json")).unwrap();
    let stages: Value = serde_json::from_slice(&stages).unwrap();
    let reward = &stages["reward"];
    assert!(reward["quality"]["temperature"]["temperature"].is_number(), "{reward}");
    let (learned, people) = (&reward["quality"], &reward["against_people"]);
    assert_eq!(people["pairs"], 3, "{reward}");
    // What agrees with a label does not agree with its opposite.
    let accuracies = [learned, people].map(|quality| quality["accuracy"].as_f64().unwrap());
    assert!((accuracies.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{accuracies:?}");
    assert!(report.contains("Against people's labels of 3 held-out pairs"), "{report}");
    for made in ["pairs.jsonl", "labels.jsonl"] {
        assert!(!dir.path().join("out").join(made).exists(), "{made}: nothing was sampled");
    }
}

#[test]
fn given_pairs_count_as_much_as_their_records_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    write_job_of_labels(dir.path(), "\"soft_label\": 1.0");
    let (job, pairs) = (read("job.toml"), read("preferences.jsonl"));
    let weighed = job.replace("labels = 'ai'", "labels = 'ai'\nweight_field = 'weight'");
    let learned = |job: &str, weights: [f64; 8], out: &str| {
        let lines = pairs.lines().zip(weights);
        let lines = lines.map(|(line, w)| line.replace('}', &format!(", \"weight\": {w}}}\n")));
        std::fs::write(path("preferences.jsonl"), lines.collect::<String>()).unwrap();
        std::fs::write(path("job.toml"), job).unwrap();
        succeeded(&run(dir.path(), out), out);
        let stages: Value = serde_json::from_str(&read(&format!("{out}/stages.json"))).unwrap();
        let weights = std::fs::read(path(out).join("checkpoints/reward/model.safetensors"));
        (stages["reward"]["trained_on"].as_u64().unwrap(), weights.unwrap())
    };
    let alike = learned(&job, [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0], "unweighed");
    assert_eq!(alike.0, 5);
    // Only what one pair counts beside another matters.
    assert_eq!(learned(&weighed, [2.0; 8], "alike"), alike);
    let unlike = learned(&weighed, [2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0], "unlike");
    assert!(unlike.0 == 5 && unlike.1 != alike.1, "{}", unlike.0);
    let (halved, _) = learned(&weighed, [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0], "halved");
    assert!((1..5).contains(&halved), "what counts nothing is not learned: {halved}");

    std::fs::write(path("preferences.jsonl"), pairs).unwrap();
    let refused = run(dir.path(), "refused");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("preferences.jsonl:1: "), "{said}");
    assert!(said.contains("the weight field \"weight\""), "{said}");
}

/// The file's labels are all there is: all the same, they say that every first response is better, or that none is.
#[test]
fn a_job_whose_labels_are_all_equal_ends_with_a_report_that_says_what_they_taught() {
    for (label, accuracy) in [("1.0", "accuracy "), ("0.5", "no accuracy, since none")] {
        let dir = tempfile::tempdir().unwrap();
        write_job_of_labels(dir.path(), &format!("\"soft_label\": {label}"));
        succeeded(&run(dir.path(), "out"), label);
        let records = metrics(&dir.path().join("out"));
        let rewards: Vec<f64> = records.iter().map(|r| r["reward"].as_f64().unwrap()).collect();
        assert_eq!(rewards.len(), STEPS, "{label}");
        // Rewards that are all alike are 0, and no noise that is blown up to a deviation of 1.
        let are_zero = rewards.iter().all(|reward| *reward == 0.0);
        assert_eq!(are_zero, label == "0.5", "{label}: {rewards:?}");
        let report = std::fs::read_to_string(dir.path().join("out/report.md")).unwrap();
        let said = format!("On 3 held-out labels: {accuracy}");
        assert!(report.contains(&said), "{label}: {report}");
        assert!(!report.contains("Against people's labels"), "people were not asked: {report}");
    }
}

#[test]
fn a_mixture_of_rewards_runs_to_its_report_which_shows_what_each_part_gave() {
    let dir = tempfile::tempdir().unwrap();
    let rl = r#"
        reward = "mixture"
        [[rl.mixture]]
        source = "model"
        weight = 0.5
        [[rl.mixture]]
        source = "labeler"
        template = "sentiment/rating"
        weight = 0.3
        [[rl.mixture]]
        name = "rubric"
        source = "labeler"
        template = "sentiment/rubric"
        weight = 0.2
        [reward_model]
        pairs = 8
        heldout_fraction = 0.4
        batch_size = 4
    "#;
    write_job(dir.path(), "sentiment/compare", rl);
    for out in ["one", "two"] {
        succeeded(&run(dir.path(), out), "mixture");
    }
    let records = metrics(&dir.path().join("one"));
    assert_eq!(records.len(), STEPS);
    for record in &records {
        let mean = |name: &str| record[format!("rewards/{name}/mean")].as_f64().unwrap();
        let sum = 0.5 * mean("model") + 0.3 * mean("sentiment/rating") + 0.2 * mean("rubric");
        // The learner's mean is of singles; every response could be judged.
        let reward = record["reward"].as_f64().unwrap();
        assert!(record["unscorable"] == 0 && (reward - sum).abs() < 1e-5, "{record}");
    }
    let file = |out: &str, file: &str| std::fs::read(dir.path().join(out).join(file)).unwrap();
    assert_eq!(file("one", "manifest.json"), file("two", "manifest.json"));
    let report = String::from_utf8(file("one", "report.md")).unwrap();
    assert!(report.contains("0.5 x model + 0.3 x sentiment/rating + 0.2 x rubric"), "{report}");
    assert!(report.contains("Mean of each part of the reward"), "{report}");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    let replay = replay.current_dir(dir.path()).args(["replay", "one", "--step", "3"]);
    succeeded(&replay.output().unwrap(), "replay");

    let job = std::fs::read_to_string(dir.path().join("job.toml")).unwrap();
    let job = job.replacen("\"sentiment/rating\"", "\"sentiment/compare\"", 1);
    std::fs::write(dir.path().join("job.toml"), job).unwrap();
    let refused = run(dir.path(), "three");
    let said = String::from_utf8_lossy(&refused.stderr);
    let complaint = "rl.mixture[1].template sentiment/compare is for comparing two responses; this part \
        needs one for rating one response";
    assert!(!refused.status.success() && said.contains(complaint), "{said}");
}

#[test]
fn a_reward_model_is_held_against_the_labeler_while_the_policy_learns() {
    let dir = tempfile::tempdir().unwrap();
    let rl = "reward = 'model'\n[reward_model]\npairs = 8\nheldout_fraction = 0.4\nbatch_size = 4\n\
        staleness = { every = 2, pairs = 6 }";
    write_job(dir.path(), "sentiment/compare", rl);
    succeeded(&run(dir.path(), "out"), "staleness");
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(dir.path().join("out").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let metrics = lines("metrics.jsonl");
    let measured = metrics.iter().filter(|record| record["stage"] == "staleness");
    let count = |m: &Value, name: &str| m[name].as_u64().unwrap();
    let steps = measured.map(|m| {
        let judged = count(m, "pairs") + count(m, "ties") + count(m, "unscorable");
        assert_eq!(judged, 6, "{m}");
        let low_to_high = m["agreement_low"].as_f64() < m["agreement_high"].as_f64();
        assert!(low_to_high && (m["agreement"].is_number() || count(m, "pairs") == 0), "{m}");
        count(m, "step")
    });
    assert_eq!(steps.collect::<Vec<_>>(), [0, 2, 3]);
    let pairs = lines("staleness.jsonl");
    assert_eq!(pairs.len(), 3 * 6);
    assert!(pairs.iter().all(|pair| pair["label_id"].is_string()), "with its provenance");
    let report = std::fs::read_to_string(dir.path().join("out/report.html")).unwrap();
    for shown in ["Staleness of the reward model", "Agreement with the labeler", "ranked alike"] {
        assert!(report.contains(shown), "{shown}");
    }
}

#[test]
fn the_policy_that_is_left_is_chosen_among_versions_and_the_choice_is_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let rl = "reward = 'labeler'\nreinforce.policy = { lr = 1e-2 }";
    write_job(dir.path(), "sentiment/rubric", rl);
    succeeded(&run(dir.path(), "last"), "without selection");
    let weights = |out: &str| {
        std::fs::read(dir.path().join(out).join("checkpoints/policy/model.safetensors")).unwrap()
    };
    let manifest = |out: &str| -> Value {
        let text = std::fs::read(dir.path().join(out).join("manifest.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    assert!(manifest("last").get("selection").is_none());
    for (out, every) in [("every", 1), ("end", 3)] {
        let selected =
            format!("{rl}\n[rl.selection]\nevery = {every}\ncandidates = 2\nprompts = 2\n");
        write_job(dir.path(), "sentiment/rubric", &selected);
        succeeded(&run(dir.path(), out), out);
        let selection = &manifest(out)["selection"];
        let versions = selection["versions"].as_array().unwrap();
        let steps: Vec<u64> = versions.iter().map(|v| v["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, if every == 1 { vec![1, 2, 3] } else { vec![3] });
        assert!(versions.iter().all(|v| v["reward"].is_number()), "{selection}");
        let compared: Vec<&Value> = versions.iter().filter(|v| !v["win_rate"].is_null()).collect();
        assert_eq!(compared.len(), steps.len().min(2), "{selection}");
        let best = compared.iter().map(|v| v["win_rate"]["win_rate"].as_f64().unwrap());
        let best = best.fold(f64::NEG_INFINITY, f64::max);
        let chosen = compared.iter().find(|v| v["step"] == selection["chosen"]).unwrap();
        assert_eq!(chosen["win_rate"]["win_rate"].as_f64(), Some(best));
        // The version after the last step, where it is chosen, is the model that is left without a choice.
        assert_eq!(weights(out) == weights("last"), selection["chosen"] == 3, "{selection}");
        let report = std::fs::read_to_string(dir.path().join(out).join("report.md")).unwrap();
        assert!(report.contains("Choice of the checkpoint"), "{report}");
        let evaluated = std::fs::read_to_string(dir.path().join(out).join("evaluation.jsonl"));
        assert_eq!(evaluated.unwrap().lines().count(), 2, "two of four prompts chose");
        let left = std::fs::read_dir(dir.path().join(out).join("candidates"));
        assert!(left.map_or(0, Iterator::count) == 0, "candidates were needed until the choice");
    }
    succeeded(&run(dir.path(), "again"), "again");
    assert_eq!(manifest("end"), manifest("again"));

    let selected = format!(
        "{rl}\nema_decay = 0.999\n[rl.selection]\nevery = 1\ncandidates = 2\nprompts = 2\n"
    );
    write_job(dir.path(), "sentiment/rubric", &selected);
    succeeded(&run(dir.path(), "averaged"), "averaged");
    let rewards = |out: &str| -> Vec<Value> {
        let manifest = manifest(out);
        let versions = manifest["selection"]["versions"].as_array().unwrap();
        versions.iter().map(|version| version["reward"].clone()).collect()
    };
    // The average hardly moves, and it is the average that would be left.
    assert_ne!(rewards("averaged"), rewards("every"));
}

const TRAINED: [&str; 3] = ["sft", "reward", "policy"];

/// Trains in all three stages, each batch in several micro-batches.
const TRAINS_ALL: &str = "reward = 'model'\nmicro_batch_tokens = 24\n[sft]\nbatch_size = 3\n[reward_model]\n\
    pairs = 8\nheldout_fraction = 0.4\nbatch_size = 4";

/// The log of a run that succeeds, with how gradients come about.
fn log_of_run(folder: &Path, out: &str, more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.env("RLAIF_LOG", "info,rlaif_rl=debug,rlaif_models=trace").current_dir(folder);
    let output = command.args(["run", "job.toml", "--out", out]).args(more).output().unwrap();
    succeeded(&output, out);
    String::from_utf8(output.stderr).unwrap()
}

/// The stages of whose training the log says this.
fn stages_that_say(what: &str, log: &str) -> Vec<&'static str> {
    let says = |stage: &&str| {
        let span = format!("train {stage}");
        log.lines().any(|line| line.contains(&span) && line.contains(what))
    };
    TRAINED.into_iter().filter(says).collect()
}

fn weights_of(folder: &Path, out: &str, stage: &str) -> Vec<u8> {
    std::fs::read(folder.join(format!("{out}/checkpoints/{stage}/model.safetensors"))).unwrap()
}

#[test]
fn training_replicas_share_the_micro_batches_of_every_stage_and_leave_the_bits_of_a_run_without() {
    let dir = tempfile::tempdir().unwrap();
    write_job(dir.path(), "sentiment/compare", TRAINS_ALL);
    // Where gradients were computed does not show in what is left, so the log is asked.
    let log = log_of_run(dir.path(), "alone", &[]);
    assert_eq!(stages_that_say("devices=1", &log), TRAINED, "{log}");
    assert!(!log.contains("devices=2"), "{log}");
    let log = log_of_run(dir.path(), "shared", &["--training-replicas", "cpu"]);
    assert_eq!(stages_that_say("devices=2", &log), TRAINED, "{log}");
    for stage in TRAINED {
        let [alone, shared] = ["alone", "shared"].map(|out| weights_of(dir.path(), out, stage));
        assert!(alone == shared, "{stage}");
    }
    let manifest = |out: &str| std::fs::read(dir.path().join(out).join("manifest.json")).unwrap();
    assert_eq!(manifest("alone"), manifest("shared"), "the machine's devices are not the job's");
}

#[test]
fn gradient_checkpointing_computes_layers_again_in_every_stage_of_a_job_and_changes_no_bit() {
    let dir = tempfile::tempdir().unwrap();
    for (out, on) in [("kept", false), ("again", true)] {
        let rl = format!("gradient_checkpointing = {on}\n{TRAINS_ALL}");
        write_job(dir.path(), "sentiment/compare", &rl);
        let log = log_of_run(dir.path(), out, &[]);
        let expected: &[&str] = if on { &TRAINED } else { &[] };
        assert_eq!(stages_that_say("layers are computed again", &log), expected, "{log}");
    }
    for stage in TRAINED {
        let [kept, again] = ["kept", "again"].map(|out| weights_of(dir.path(), out, stage));
        assert!(kept == again, "{stage}");
    }
}

#[test]
fn a_run_whose_policy_comes_apart_ends_with_a_diagnosis() {
    let dir = tempfile::tempdir().unwrap();
    let rl = "reward = 'labeler'\nmax_kl_per_token = 0.05\n\
        reinforce = { beta = 0.0, policy = { lr = 1.0 } }";
    write_job(dir.path(), "sentiment/rubric", rl);
    let output = run(dir.path(), "out");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    // The first step did it; the second, on what came of that, sees it.
    assert!(said.contains("policy step 2: the policy is"), "{said}");
    assert!(said.contains("max_kl_per_token = 0.05"), "{said}");
    assert!(said.contains("the last good policy is the one that training began with"), "{said}");
    assert!(!dir.path().join("out/checkpoints/last-good").exists());
}
