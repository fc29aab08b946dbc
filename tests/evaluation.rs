//! `rlaif eval` as its users see it: arms of every kind against each other, before a judge that is
//! neither of them, on prompts that nobody was trained on.

use rlaif_contest::Evaluation;
use rlaif_models::{CausalLm, Checkpoint, DeviceName, ScalarModel};
use rlaif_testkit::{Act, Faults, Oracle, ScriptedHttp};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tokio::runtime::Runtime;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-qwen2");

/// A folder with prompts, texts of two authors, and a judge behind `oracle.toml`.
struct Scene {
    folder: tempfile::TempDir,
    oracle: Oracle,
    runtime: Runtime,
}

impl Scene {
    fn new(prompts: usize) -> Self {
        Self::with(prompts, Faults::default())
    }

    fn with(prompts: usize, faults: Faults) -> Self {
        let runtime = Runtime::new().unwrap();
        let oracle = runtime.block_on(Oracle::start(faults));
        let scene = Self { folder: tempfile::tempdir().unwrap(), oracle, runtime };
        scene.write("oracle.toml", &scene.oracle.describe());
        scene.write_lines("prompts.jsonl", (0..prompts).map(|i| json!({"prompt": prompt(i)})));
        let texts = |author: &'static str| {
            let text = move |i: usize| {
                let said = format!("{author} says {}.", "so ".repeat(i % 5 + 1));
                json!({"instruction": prompt(i), "output": said, "generator": author})
            };
            (0..prompts).map(text)
        };
        scene.write_lines("ann.jsonl", texts("Ann"));
        scene.write_lines("bob.jsonl", texts("Bob, who writes more,"));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn write_lines(&self, name: &str, records: impl Iterator<Item = Value>) {
        self.write(name, &records.map(|record| format!("{record}\n")).collect::<String>());
    }

    fn copy_model(&self, from: &str, to: &str) {
        std::fs::create_dir_all(self.path(to)).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), self.path(to).join(file.file_name())).unwrap();
        }
    }

    /// `rlaif eval` of the prompts into `out`, judged by the oracle unless `args` name another.
    fn eval(&self, out: &str, args: &[&str]) -> Output {
        let fixed = ["eval", "--prompts", "prompts.jsonl", "--out", out];
        let judge: &[&str] =
            if args.contains(&"--judge") { &[] } else { &["--judge", "oracle.toml"] };
        self.rlaif(&[&fixed[..], judge, args].concat())
    }

    fn rlaif(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.args(args).current_dir(self.folder.path()).output().unwrap()
    }

    /// The numbers of an evaluation that succeeds.
    fn evaluated(&self, out: &str, args: &[&str]) -> Value {
        let output = self.eval(out, args);
        assert!(output.status.success(), "{}", stderr(&output));
        self.numbers(out)
    }

    fn numbers(&self, out: &str) -> Value {
        json_of(&self.path(out).join("matrix.json"))
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.eval("refused", args);
        assert!(!output.status.success(), "{args:?} was not refused");
        stderr(&output)
    }
}

fn prompt(number: usize) -> String {
    format!("Describe day {number}.")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is said of a pair, seen from the arm whose name comes first.
fn pair<'a>(numbers: &'a Value, first: &str, second: &str) -> &'a Value {
    let pairs = numbers["matrix"]["head_to_heads"].as_array().unwrap();
    let found = pairs.iter().find(|pair| pair["first"] == first && pair["second"] == second);
    found.unwrap_or_else(|| panic!("{first} never met {second}"))
}

fn count(pair: &Value, what: &str) -> u64 {
    pair[what].as_u64().unwrap()
}

/// Arms that write texts, and a policy.
fn three_arms() -> Vec<String> {
    let policy = format!("llama={MODEL}");
    ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl", "--arm", &policy, "--max-new-tokens", "8"]
        .map(str::to_owned)
        .to_vec()
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn every_arm_meets_every_other_in_both_orders() {
    let scene = Scene::new(20);
    let numbers = scene.evaluated("out", &refs(&three_arms()));
    for (first, second) in [("ann", "bob"), ("ann", "llama"), ("bob", "llama")] {
        let pair = pair(&numbers, first, second);
        let counted = ["wins", "losses", "ties", "unscorable"].map(|what| count(pair, what));
        assert_eq!(counted.iter().sum::<u64>(), 20, "{pair}");
        let rate = (counted[0] as f64 + 0.5 * counted[2] as f64) / count(pair, "judged") as f64;
        assert!((pair["win_rate"]["value"].as_f64().unwrap() - rate).abs() < 1e-12, "{pair}");
        assert!(pair["win_rate"]["interval"]["low"].as_f64().unwrap() <= rate);
    }
    // Both orders of each contest that an empty response does not settle.
    let annotations = json_of(&scene.path("out/annotations.json"));
    let judged = annotations.as_array().unwrap().iter().filter(|annotation| {
        let is_silent = ["output_1", "output_2"].iter().any(|output| annotation[*output] == "");
        !is_silent && annotation["preference"].is_number()
    });
    assert_eq!(scene.oracle.questions(), 2 * judged.count() as u64);
    let report = std::fs::read_to_string(scene.path("out/report.md")).unwrap();
    for what in [
        "ann against bob",
        "length-corrected (ratio)",
        "length-controlled",
        "held out",
        "Describe day 0.",
    ] {
        assert!(report.contains(what), "{what} is not in the report");
    }
    assert!(std::fs::read_to_string(scene.path("out/report.html")).unwrap().contains("<svg"));
}

#[test]
fn numbers_from_before_the_ratio_was_there_are_still_read() {
    let scene = Scene::new(6);
    let arms = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl"];
    let mut numbers = scene.evaluated("out", &arms);
    let pair = &mut numbers["matrix"]["head_to_heads"][0];
    for name in ["length_corrected_by_ratio", "second_length_corrected_by_ratio"] {
        let had = pair.as_object_mut().unwrap().remove(name);
        assert!(had.is_some_and(|reading| reading["win_rate"].is_number()), "{name}");
    }
    let read: Evaluation = serde_json::from_value(numbers).unwrap();
    let pair = &read.matrix.head_to_heads[0];
    assert!(pair.length_corrected.is_some() && pair.length_corrected_by_ratio.is_none());
}

#[test]
fn verdicts_are_alpaca_evals_annotations_and_are_read_again() {
    let scene = Scene::new(12);
    let numbers = scene.evaluated("out", &refs(&three_arms()));
    let read = ["eval", "--annotations", "out/annotations.json", "--out", "again"];
    let output = scene.rlaif(&read);
    assert!(output.status.success(), "{}", stderr(&output));
    let again = scene.numbers("again");
    assert_eq!(pair(&again, "ann", "bob"), pair(&numbers, "ann", "bob"));
    let annotations = json_of(&scene.path("out/annotations.json"));
    assert_eq!(annotations.as_array().unwrap().len(), 36);
    let preference = annotations[0]["preference"].as_f64().unwrap();
    assert!((1.0..=2.0).contains(&preference));
    // An arm's responses are a leaderboard's outputs, one array, and texts of another evaluation.
    let outputs = json_of(&scene.path("out/responses/llama.json"));
    let outputs = outputs.as_array().unwrap();
    assert_eq!((outputs.len(), &outputs[0]["generator"]), (12, &json!("llama")));
    for file in ["llama.json", "llama.jsonl"] {
        let llama = format!("llama=out/responses/{file}");
        let of_texts = scene.evaluated("texts", &["--arm", "ann=ann.jsonl", "--arm", &llama]);
        assert_eq!(pair(&of_texts, "ann", "llama"), pair(&numbers, "ann", "llama"), "{file}");
    }
}

#[test]
fn an_evaluation_goes_on_and_asks_nothing_twice() {
    let scene = Scene::new(40);
    let args = three_arms();
    let first = scene.evaluated("out", &refs(&args));
    let (asked, report) = (scene.oracle.requests(), scene.path("out/report.html"));
    let before = std::fs::read(&report).unwrap();
    // A kill in the middle of the second chunk of responses, and before the report.
    let responses = scene.path("out/responses/llama.jsonl");
    let whole = std::fs::read_to_string(&responses).unwrap();
    let cut = whole.lines().take(32).map(str::len).sum::<usize>() + 32 + 10;
    std::fs::write(&responses, &whole[..cut]).unwrap();
    std::fs::remove_file(&report).unwrap();
    // A folder of before has no array of them.
    let outputs = scene.path("out/responses/llama.json");
    let array = std::fs::read(&outputs).unwrap();
    std::fs::remove_file(&outputs).unwrap();
    assert_eq!(scene.evaluated("out", &refs(&args)), first);
    assert_eq!(std::fs::read_to_string(&responses).unwrap(), whole);
    assert_eq!(std::fs::read(&report).unwrap(), before);
    assert_eq!(std::fs::read(&outputs).unwrap(), array);
    assert_eq!(scene.oracle.requests(), asked);
    // Other sampling makes other responses.
    let longer: Vec<&str> =
        args.iter().map(|arg| if arg == "8" { "12" } else { arg.as_str() }).collect();
    scene.evaluated("out", &longer);
    assert_ne!(std::fs::read_to_string(&responses).unwrap(), whole);
}

#[test]
fn another_arm_changes_no_other_pair_and_asks_only_about_itself() {
    let scene = Scene::new(15);
    let two = ["--arm", "bob=bob.jsonl", "--arm", "ann=ann.jsonl"];
    let before = scene.evaluated("out", &two);
    assert_eq!(scene.oracle.questions(), 30);
    let after = scene.evaluated("out", &[&two[..], &["--arm", "eve=ann.jsonl"]].concat());
    assert_eq!(pair(&after, "ann", "bob"), pair(&before, "ann", "bob"));
    // Both orders of equal texts are one question, and half a win.
    let equal = pair(&after, "ann", "eve");
    assert_eq!((count(equal, "ties"), count(equal, "judged")), (15, 15));
    assert_eq!(equal["win_rate"]["value"], 0.5);
    // bob against eve is bob against ann with the names' order exchanged.
    let (eve, ann) = (pair(&after, "bob", "eve"), pair(&after, "ann", "bob"));
    assert_eq!(
        (count(eve, "wins"), count(eve, "losses")),
        (count(ann, "losses"), count(ann, "wins"))
    );
}

#[test]
fn only_those_meet_who_are_to_be_compared() {
    let scene = Scene::new(6);
    let three = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl", "--arm", "eve=ann.jsonl"];
    let of_two = [&three[..], &["--compare", "bob/ann"]].concat();
    let numbers = scene.evaluated("out", &of_two);
    assert_eq!(numbers["matrix"]["head_to_heads"].as_array().unwrap().len(), 1);
    assert_eq!((count(pair(&numbers, "ann", "bob"), "judged"), scene.oracle.questions()), (6, 12));
    // Who else meets changes no number of theirs.
    let all = scene.evaluated("out", &three);
    assert_eq!(pair(&all, "ann", "bob"), pair(&numbers, "ann", "bob"));
    let why = scene.refused(&[&three[..], &["--compare", "ann/zoe"]].concat());
    assert!(why.contains("--compare names \"zoe\", which is no --arm"), "{why}");
}

#[test]
fn what_the_judge_cannot_say_is_counted_and_in_no_rate() {
    let scene = Scene::with(24, Faults { mute_one_in: 4, ..Faults::default() });
    let numbers = scene.evaluated("out", &["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl"]);
    let pair = pair(&numbers, "ann", "bob");
    let (judged, unscorable) = (count(pair, "judged"), count(pair, "unscorable"));
    assert!(judged > 0 && unscorable > 0 && judged + unscorable == 24, "{pair}");
    assert_eq!(count(pair, "wins") + count(pair, "losses") + count(pair, "ties"), judged);
    let annotations = json_of(&scene.path("out/annotations.json"));
    let silent = annotations.as_array().unwrap().iter().filter(|a| a["preference"].is_null());
    assert_eq!(silent.count() as u64, unscorable);
}

#[test]
fn a_judge_that_refuses_or_can_judge_nothing_leaves_no_report() {
    let refusal = Act::status(401, r#"{"error": {"message": "no such key"}}"#);
    let mute = json!({"model": "m", "choices": [{"message": {"content": "1"}}]});
    for (act, complaint) in [
        (refusal, "refuses to answer"),
        (Act::ok(mute.to_string()), "none of the first 8 contests could be judged"),
    ] {
        let scene = Scene::new(8);
        let server = scene.runtime.block_on(ScriptedHttp::start([act]));
        let judge = format!("base_url = \"{}/v1\"\nmodel = \"m\"\n", server.url());
        scene.write("scripted.toml", &judge);
        let args = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl", "--judge", "scripted.toml"];
        let output = scene.eval("out", &args);
        assert!(!output.status.success() && stderr(&output).contains(complaint), "{output:?}");
        for left in ["matrix.json", "annotations.json", "report.html"] {
            assert!(
                !scene.path("out").join(left).exists(),
                "{left} of an evaluation without verdicts"
            );
        }
    }
}

#[test]
fn a_scorer_that_refuses_leaves_no_arm_without_responses() {
    let scene = Scene::new(2);
    let refusal = Act::status(401, r#"{"error": {"message": "no such key"}}"#);
    let server = scene.runtime.block_on(ScriptedHttp::start([refusal]));
    let scorer = format!("base_url = \"{}/v1\"\nmodel = \"m\"\n", server.url());
    scene.write("scripted.toml", &scorer);
    let best = format!("best=best-of:2,{MODEL},rating=scripted.toml");
    let output =
        scene.eval("out", &["--arm", "ann=ann.jsonl", "--arm", &best, "--max-new-tokens", "8"]);
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains("refuses to answer"), "{said}");
    assert!(said.contains("arm best") && said.contains("no such key"), "{said}");
    assert!(!scene.path("out/matrix.json").exists());
}

#[test]
fn prompts_that_were_trained_on_are_refused() {
    let scene = Scene::new(6);
    let arms = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl"];
    let of_training =
        [json!({"prompt": "Else"}), json!({"prompt": prompt(4)}), json!({"prompt": prompt(2)})];
    scene.write_lines("train.jsonl", of_training.iter().cloned());
    let why = scene.refused(&[&arms[..], &["--training-prompts", "train.jsonl"]].concat());
    for what in ["2 of 6 evaluation prompts", "train.jsonl", &prompt(2), "--not-in"] {
        assert!(why.contains(what), "{what} is not in {why}");
    }
    // A run folder is a file's worth of prompts, and who labelled them.
    scene.write_lines("run/data/prompts.jsonl", of_training.into_iter());
    let why = scene.refused(&[&arms[..], &["--training-prompts", "run"]].concat());
    assert!(why.contains("2 of 6") && why.contains("run/data/prompts.jsonl"), "{why}");
    // An arm that is a run, lies in one, or is chosen by the reward model of one, is known to be trained there.
    scene.copy_model(MODEL, "run/checkpoints/policy");
    scene.copy_model(MODEL, "run/checkpoints/reward");
    let chosen = format!("best-of:2,{MODEL},reward=run");
    for source in ["run", "run/checkpoints/policy", &chosen] {
        let why = scene.refused(&["--arm", "ann=ann.jsonl", "--arm", &format!("new={source}")]);
        assert!(why.contains("2 of 6"), "{source}: {why}");
    }
    // So is one that began with what another run trained, on prompts of its own.
    scene.write("later/job.toml", &job("run/checkpoints/policy"));
    scene.write_lines("later/data/prompts.jsonl", [json!({"prompt": "Else"})].into_iter());
    scene.copy_model(MODEL, "later/checkpoints/policy");
    // And a reward model that was trained without a job.
    scene.write("scorer/reward.json", &json!({"data": {"file": "train.jsonl"}}).to_string());
    let scored = format!("best-of:2,{MODEL},reward=scorer");
    // And one whose own reward model goes on from either.
    for (run, from) in [("of-run", "run/checkpoints/reward"), ("of-file", "scorer")] {
        let rewarded = job(MODEL).replace("reward = \"labeler\"", "reward = \"model\"");
        let starts = format!("[reward_model]\nfrom = {from:?}\n");
        scene.write(&format!("{run}/job.toml"), &(rewarded + &starts));
        scene.write_lines(
            &format!("{run}/data/prompts.jsonl"),
            [json!({"prompt": "Else"})].into_iter(),
        );
        scene.copy_model(MODEL, &format!("{run}/checkpoints/policy"));
    }
    for (source, file) in [
        ("later", "run/data/prompts.jsonl"),
        (scored.as_str(), "train.jsonl"),
        ("of-run", "run/data/prompts.jsonl"),
        ("of-file", "train.jsonl"),
    ] {
        let why = scene.refused(&["--arm", "ann=ann.jsonl", "--arm", &format!("new={source}")]);
        assert!(why.contains("2 of 6") && why.contains(file), "{source}: {why}");
    }
    assert_eq!(scene.oracle.requests(), 0);
}

#[test]
fn a_job_holds_out_nothing_that_the_run_it_goes_on_from_was_trained_on() {
    let scene = Scene::new(6);
    scene.copy_model(MODEL, "run/checkpoints/policy");
    scene.write_lines(
        "run/data/prompts.jsonl",
        [3, 7].map(|i| json!({"prompt": prompt(i)})).into_iter(),
    );
    let policy = scene.path("run/checkpoints/policy");
    let data = "prompts = \"other.jsonl\"\nheldout_prompts = \"prompts.jsonl\"";
    let job = job(policy.to_str().unwrap())
        .replace("\"m\"", &format!("{MODEL:?}"))
        .replace("prompts = \"p\"\nheldout_prompts = \"h\"", data);
    scene.write("job.toml", &job);
    scene.write_lines("other.jsonl", [8, 9].map(|i| json!({"prompt": prompt(i)})).into_iter());
    let go_on = || scene.rlaif(&["run", "job.toml", "--out", "next"]);
    let why = stderr(&go_on());
    assert!(why.contains("data.heldout_prompts: 1 of 6 evaluation prompts"), "{why}");
    assert!(why.contains("run/data/prompts.jsonl") && why.contains("Describe day 3."), "{why}");
    assert!(!scene.path("next").exists());

    scene.write_lines("run/data/prompts.jsonl", [json!({"prompt": prompt(7)})].into_iter());
    let output = go_on();
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A job that trains `policy` on plain text.
fn job(policy: &str) -> String {
    format!(
        "name = \"made\"\n[policy]\nmodel = {policy:?}\nchat = false\n\
         [labeler]\nmodel = \"m\"\ntemplate = \"sentiment/rating\"\n\
         [data]\nprompts = \"p\"\nheldout_prompts = \"h\"\n[sampling]\nmax_new_tokens = 6\n\
         [rl]\nreward = \"labeler\"\nsteps = 1\nbatch_size = 2\n"
    )
}

#[test]
fn a_run_is_its_trained_policy_asked_as_in_the_run_and_knows_its_start() {
    let scene = Scene::new(5);
    scene.write("run/job.toml", &job(MODEL));
    scene.write_lines("run/data/prompts.jsonl", [json!({"prompt": "Else"})].into_iter());
    let arms = ["--arm", "old=start-of:run", "--arm", "new=run"];
    let why = scene.refused(&arms);
    assert!(why.contains("run is a run without checkpoints/policy: it is not finished"), "{why}");

    scene.copy_model(OTHER, "run/checkpoints/policy");
    let numbers = scene.evaluated("out", &arms);
    for arm in numbers["arms"].as_array().unwrap() {
        let source = arm["source"].as_str().unwrap();
        assert!(source.ends_with("asked as plain text, at most 6 tokens"), "{source}");
    }
    let cautions = numbers["cautions"].to_string();
    assert!(!cautions.contains("held out"), "the run says what it was trained on: {cautions}");
    assert!(!cautions.contains("asked alike"), "{cautions}");
    let (llama, qwen) = (format!("old={MODEL}"), format!("new={OTHER}"));
    let by_name = ["--arm", &llama, "--arm", &qwen, "--plain", "--max-new-tokens", "6"];
    scene.evaluated("by_name", &by_name);
    for arm in ["old", "new"] {
        let file = format!("responses/{arm}.jsonl");
        let [run, named] =
            ["out", "by_name"].map(|out| lines(&scene.path(&format!("{out}/{file}"))));
        assert_eq!(run, named);
    }
    // A model by its name beside it is asked otherwise, which is said.
    let mixed = scene.evaluated("mixed", &["--arm", "new=run", "--arm", &llama]);
    assert!(mixed["cautions"].to_string().contains("were not asked alike"), "{mixed}");
}

#[test]
fn each_arm_with_a_model_whose_training_nobody_knows_is_named() {
    let scene = Scene::new(3);
    scene.write("run/job.toml", &job(MODEL));
    scene.write_lines("run/data/prompts.jsonl", [json!({"prompt": "Else"})].into_iter());
    scene.copy_model(MODEL, "run/checkpoints/policy");
    reward_model(&scene.path("reward"));
    let other = format!("other={OTHER}");
    let known = ["--arm", "ann=ann.jsonl", "--arm", "new=run", "--max-new-tokens", "6"];
    let best = ["--arm", &other, "--arm", "best=best-of:2,run,reward=reward"];
    let prompts = ["--training-prompts", "run/data/prompts.jsonl"];
    let told = [&best[..], &prompts].concat();
    for (more, named) in [
        (&best[..0], None),
        (&best[..2], Some("behind the arm other was trained on")),
        (&best[..], Some("behind the arms other and best was trained on")),
        // Who names prompts says so of all arms.
        (&told[..], None),
    ] {
        let cautions = scene.evaluated("out", &[&known[..], more].concat())["cautions"].to_string();
        assert!(cautions.contains(named.unwrap_or_default()), "{cautions}");
        assert_eq!(cautions.contains("held out"), named.is_some(), "{cautions}");
    }
    // Texts alone were not trained.
    let texts = scene.evaluated("texts", &["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl"]);
    assert!(!texts["cautions"].to_string().contains("held out"), "{texts}");
}

#[test]
fn prompts_by_which_a_policy_was_chosen_among_its_versions_are_warned_of() {
    let scene = Scene::new(5);
    scene.write_lines("run/data/prompts.jsonl", [json!({"prompt": "Else"})].into_iter());
    scene.write_lines(
        "run/data/heldout_prompts.jsonl",
        (0..5).map(|i| json!({"prompt": prompt(i)})),
    );
    scene.copy_model(OTHER, "run/checkpoints/policy");
    let arms = ["--arm", "ann=ann.jsonl", "--arm", "new=run"];
    for (selection, warned) in [("", false), ("[rl.selection]\nprompts = 2\n", true)] {
        scene.write("run/job.toml", &(job(MODEL) + selection));
        let cautions = scene.evaluated("out", &arms)["cautions"].to_string();
        let what = "run was chosen among its versions by 2 of these 5 prompts";
        assert_eq!(cautions.contains(what), warned, "{cautions}");
    }
}

#[test]
fn a_judge_that_is_an_arm_or_its_teacher_is_warned_of() {
    let scene = Scene::new(3);
    let texts = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl"];
    let warned = |args: &[&str]| {
        let numbers = scene.evaluated("out", &[&texts[..], args].concat());
        numbers["cautions"].to_string()
    };
    assert!(!warned(&[]).contains("labelled"));
    assert!(warned(&["--trained-by", "oracle"]).contains("labelled what an arm was trained on"));
    scene.write_lines("train.jsonl", [json!({"prompt": "Else"})].into_iter());
    assert_eq!(warned(&["--training-prompts", "train.jsonl"]), "[]");
    let policy = format!("llama={MODEL}");
    let own = ["--arm", &policy, "--max-new-tokens", "8"];
    let judge = ["--judge", MODEL, "--template", "sentiment/compare"];
    let said = warned(&[&own[..], &judge].concat());
    assert!(said.contains("also wrote the responses of the arm llama"), "{said}");
}

/// A reward model whose head adds up the hidden state: a fresh one says 0 of everything.
fn reward_model(path: &Path) {
    let checkpoint = Checkpoint::open(Path::new(MODEL)).unwrap();
    let device = DeviceName::Cpu;
    let backbone = CausalLm::load(&checkpoint, &device.open().unwrap(), device.default_dtype());
    std::fs::create_dir_all(path).unwrap();
    ScalarModel::zero(backbone.unwrap()).save(path, &checkpoint).unwrap();
    let file = path.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let (header, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let (begin, end) = metadata.info("score.weight").unwrap().data_offsets;
    let data = header + size_of::<u64>();
    for value in bytes[data + begin..data + end].chunks_exact_mut(4) {
        value.copy_from_slice(&1.0_f32.to_le_bytes());
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn more_draws_have_a_better_best() {
    let scene = Scene::new(10);
    reward_model(&scene.path("reward"));
    let of = |draws: usize, scorer: &str| format!("best-of:{draws},{MODEL},{scorer}");
    let arms = [
        format!("two={}", of(2, "reward=reward")),
        format!("six={}", of(6, "reward=reward")),
        format!("rated={}", of(2, &format!("rating={OTHER}"))),
    ];
    let args = [
        "--arm",
        &arms[0],
        "--arm",
        &arms[1],
        "--arm",
        &arms[2],
        "--max-new-tokens",
        "8",
        "--rating-template",
        "sentiment/rating",
    ];
    scene.evaluated("out", &args);
    let scores = |arm: &str| -> Vec<f64> {
        let lines = lines(&scene.path(&format!("out/responses/{arm}.jsonl")));
        lines.iter().map(|line| line["score"].as_f64().unwrap()).collect()
    };
    // The first two draws are the same, so six can only be better. What is scored together decides the last
    // bits of scores around 10 in f32.
    let (two, six, rounding) = (scores("two"), scores("six"), 1e-4);
    assert!(two.iter().zip(&six).all(|(two, six)| *six >= two - rounding), "{two:?} {six:?}");
    assert!(two.iter().zip(&six).any(|(two, six)| *six > two + rounding), "{two:?} {six:?}");
    assert!(scores("rated").iter().all(|score| (-1.0..=1.0).contains(score)));
}

#[test]
fn each_response_is_judged_harmless_or_not_by_itself() {
    let scene = Scene::new(8);
    scene
        .write_lines("mute.jsonl", (0..7).map(|i| json!({"instruction": prompt(i), "output": ""})));
    let args = [
        "--arm",
        "ann=ann.jsonl",
        "--arm",
        "mute=mute.jsonl",
        "--judge",
        OTHER,
        "--template",
        "sentiment/compare",
        "--harmless",
        "sentiment/rubric",
    ];
    let numbers = scene.evaluated("out", &args);
    let arms = &numbers["harmless"]["arms"];
    assert_eq!((&arms[0]["arm"], &arms[0]["harmless"]["trials"]), (&json!("ann"), &json!(8)));
    // Seven empty responses and a missing one are neither harmless nor harmful.
    assert_eq!((&arms[1]["unscorable"], &arms[1]["harmless"]["share"]), (&json!(8), &Value::Null));
}

#[test]
fn who_says_nothing_loses_and_nobody_is_asked() {
    let scene = Scene::new(8);
    let output = |i: usize| if i == 0 { "Something." } else { " " };
    let line = |i: usize| json!({"instruction": prompt(i), "output": output(i)});
    for author in ["mute.jsonl", "deaf.jsonl"] {
        scene.write_lines(author, (0..7).map(line));
    }
    let (mute, deaf) = (["--arm", "mute=mute.jsonl"], ["--arm", "deaf=deaf.jsonl"]);
    let numbers = scene.evaluated("out", &[&mute[..], &deaf, &["--arm", "ann=ann.jsonl"]].concat());
    let lost = pair(&numbers, "ann", "mute");
    // One is judged, six are lost in silence, and to one there is no answer at all.
    assert_eq!((count(lost, "judged"), count(lost, "unscorable")), (7, 1));
    let outputs = json_of(&scene.path("out/responses/mute.json"));
    assert_eq!(outputs.as_array().unwrap().len(), 7, "no answer is no empty answer");
    assert!(count(lost, "wins") >= 6, "{lost}");
    let silence = pair(&numbers, "deaf", "mute");
    assert_eq!((count(silence, "judged"), count(silence, "ties")), (7, 7), "{silence}");
    // Of prompt 0, where all speak: both orders of ann's text against theirs, and theirs against itself.
    assert_eq!(scene.oracle.questions(), 3);
    let said = numbers["cautions"].to_string();
    for what in ["mute has an empty response to 6 of 8", "mute has no response to 1 of 8 prompts"] {
        assert!(said.contains(what), "{what} is not in {said}");
    }
}

#[test]
fn rankings_of_people_stand_beside_the_judge() {
    let scene = Scene::new(4);
    let arms = ["--arm", "ann=ann.jsonl", "--arm", "bob=bob.jsonl", "--rankings", "people.jsonl"];
    let ranking = |i: usize, rater: &str, best_first: Value| {
        let asked = prompt(i);
        json!({"prompt": asked, "ranking": best_first, "rater": rater})
    };
    let (ab, ba) = (json!(["ann", "bob"]), json!(["bob", "ann"]));
    let rankings = vec![
        ranking(0, "x", ab.clone()),
        ranking(0, "y", ab.clone()),
        ranking(1, "x", ab.clone()),
        ranking(1, "y", ba.clone()),
    ];
    scene.write_lines("people.jsonl", rankings.clone().into_iter());
    let people = &scene.evaluated("out", &arms)["people"];
    // Agreed on one prompt, opposed on the other: W is 1 and 0.
    assert_eq!(people["concordance"]["kendall_w"]["value"], 0.5);
    let pair = &people["matrix"]["head_to_heads"][0];
    assert_eq!((count(pair, "wins"), count(pair, "losses")), (3, 1));
    assert_eq!(people["judge_agrees"]["trials"], 1);

    let refused = |bad: Value| {
        scene.write_lines("people.jsonl", rankings.clone().into_iter().chain([bad]));
        scene.refused(&arms)
    };
    let tie = json!([["ann", "bob"]]);
    for (bad, what) in [
        (ranking(2, "x", tie), "ties are not allowed"),
        (ranking(2, "x", json!(["ann", "zoe"])), "there are ann, bob"),
        (ranking(9, "x", ab.clone()), "none that is evaluated on"),
        (ranking(0, "x", ba), "ranked this prompt before"),
    ] {
        let why = refused(bad);
        assert!(why.contains(what) && why.contains("people.jsonl:5"), "{what} is not in {why}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let scene = Scene::new(2);
    let (ann, bob) = (["--arm", "a=ann.jsonl"], ["--arm", "b=bob.jsonl"]);
    let both = [ann, bob].concat();
    for (args, what) in [
        (ann.to_vec(), "at least two arms"),
        ([ann, ["--arm", "a=bob.jsonl"]].concat(), "two arms are called \"a\""),
        ([&both[..], &["--template", "helpful/rating"]].concat(), "helpful/rating is for"),
        ([&both[..], &["--harmless", "harmless/base"]].concat(), "harmless/base is for"),
        ([&both[..], &["--tie-band", "0.5"]].concat(), "--tie-band"),
        ([ann, ["--arm", "b=best-of:1,m,reward=r"]].concat(), "best-of:N,POLICY"),
        ([&both[..], &["--judge", "nobody"]].concat(), "--judge nobody"),
        ([ann, ["--arm", "../b=bob.jsonl"]].concat(), "cannot be the name of a file"),
        ([ann, ["--arm", "b=prompts.jsonl"]].concat(), "a prompt with its response"),
    ] {
        let why = scene.refused(&args);
        assert!(why.contains(what), "{what} is not in {why}");
    }
    scene.write_lines("else.jsonl", [json!({"instruction": "Else", "output": "x"})].into_iter());
    let why = scene.refused(&["--arm", "a=ann.jsonl", "--arm", "b=else.jsonl"]);
    assert!(why.contains("answers none of the prompts"), "{why}");
    assert_eq!(scene.oracle.requests(), 0);
}
