//! Labeling as its users see it: paid for once, within a budget, by several models, with people where
//! the labeler is unsure, and by models behind endpoints.

use rlaif_testkit::{Act, ScriptedHttp};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-qwen2");

/// A folder with pairs to label.
struct Work {
    folder: TempDir,
}

impl Work {
    fn with(pairs: usize) -> Self {
        let work = Self { folder: tempfile::tempdir().unwrap() };
        let line = |i: usize| {
            json!({"id": i, "prompt": "Say something.", "response_a": format!("It is {i} degrees."),
                "response_b": format!("I have {i} cats.")})
        };
        let lines: String = (0..pairs).map(|i| format!("{}\n", line(i))).collect();
        std::fs::write(work.path("pairs.jsonl"), lines).unwrap();
        work
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn rlaif(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
        command.args(args).current_dir(self.folder.path()).output().unwrap()
    }

    /// `rlaif label` of the pairs into `out`.
    fn label(&self, out: &str, args: &[&str]) -> Output {
        let fixed =
            ["label", "--in", "pairs.jsonl", "--out", out, "--template", "sentiment/compare"];
        self.rlaif(&[&fixed[..], args].concat())
    }

    fn labelled(&self, out: &str, args: &[&str]) -> Vec<Value> {
        let output = self.label(out, args);
        assert!(output.status.success(), "{}", stderr(&output));
        records(&self.path(out))
    }

    /// Labels in the ledger.
    fn in_ledger(&self) -> u64 {
        let output = self.rlaif(&["labels", "list", "--ledger", "l.sqlite", "--json"]);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap().lines().count() as u64
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn records(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_the_ledger_knows_is_not_asked_again() {
    let work = Work::with(70);
    let ledger = ["--model", MODEL, "--ledger", "l.sqlite"];
    let first = work.labelled("first.jsonl", &ledger);
    assert_eq!((first.len(), work.in_ledger()), (70, 70));
    let again = work.labelled("again.jsonl", &ledger);
    assert_eq!((again, work.in_ledger()), (first, 70));
    // Another way of asking is another question.
    work.labelled("other.jsonl", &[&ledger[..], &["--min-verdict-mass", "0.000001"]].concat());
    assert_eq!(work.in_ledger(), 140);
}

#[test]
fn what_it_will_take_is_said_before() {
    let work = Work::with(40);
    std::fs::write(work.path("prices.toml"), "[prices.tiny-llama]\ninput_per_1m = 1000.0\n")
        .unwrap();
    let args = ["--model", MODEL, "--ledger", "l.sqlite", "--prices", "prices.toml"];
    let estimate = || {
        let said = work.label("none.jsonl", &[&args[..], &["--estimate"]].concat());
        assert!(said.status.success(), "{}", stderr(&said));
        String::from_utf8(said.stdout).unwrap()
    };
    let said = estimate();
    assert!(said.contains("40 pairs, 40 to ask"), "{said}");
    assert!(!work.path("none.jsonl").exists(), "an estimate labels nothing");
    // All prompts were measured, so the number is the sum.
    let field = |name: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap()
    };
    let spent = work.label("out.jsonl", &args);
    let spent = stderr(&spent);
    let tokens = format!("and {} tokens", field("tokens read"));
    assert!(spent.contains(&tokens), "{said}{spent}");
    assert!((field("cost") - field("tokens read") / 1000.0).abs() <= 0.011, "{said}");
    assert!(estimate().contains("40 pairs, 0 to ask: the ledger has all labels"));
}

#[test]
fn what_does_not_fit_the_labelers_context_is_estimated_as_such() {
    let work = Work::with(4);
    let estimated = || {
        let said = work.label("none.jsonl", &["--model", MODEL, "--estimate"]);
        assert!(said.status.success(), "{}", stderr(&said));
        String::from_utf8(said.stdout).unwrap()
    };
    let tokens = |said: &str| {
        said.lines().find(|line| line.trim_start().starts_with("tokens read")).unwrap().to_owned()
    };
    let fitting = estimated();
    assert!(!fitting.contains("too long"), "{fitting}");
    // The context holds 512 tokens.
    let long = json!({"prompt": "Say something.", "response_a": "cats and dogs ".repeat(500),
        "response_b": "No."});
    let pairs = std::fs::read_to_string(work.path("pairs.jsonl")).unwrap();
    std::fs::write(work.path("pairs.jsonl"), format!("{pairs}{long}\n")).unwrap();
    let with_long = estimated();
    let told = "5 pairs, 5 to ask; too long for the labeler's context, and not counted: 1\n";
    assert!(with_long.contains(told), "{with_long}");
    assert_eq!(tokens(&with_long), tokens(&fitting));
    // It is the pair that a run cannot judge.
    let said = stderr(&work.label("out.jsonl", &["--model", MODEL]));
    assert!(said.contains("5 pairs: 4 labelled, 0 not sure enough, 1 unscorable"), "{said}");
    std::fs::write(work.path("pairs.jsonl"), format!("{long}\n")).unwrap();
    let alone = estimated();
    assert!(alone.contains("not counted: 1: none of them can be asked about"), "{alone}");
}

#[test]
fn a_run_reports_what_became_of_its_pairs_and_how_good_the_labeler_is() {
    let work = Work::with(0);
    let pair = |i: usize| {
        json!({"prompt": "Say something.", "chosen": format!("It is {i} <b>degrees</b>."),
            "rejected": format!("I have {i} cats.")})
    };
    let lines: String = (0..30).map(|i| format!("{}\n", pair(i))).collect();
    let empty = json!({"prompt": "Say something.", "chosen": "Yes", "rejected": " "});
    std::fs::write(work.path("pairs.jsonl"), format!("{lines}{empty}\n")).unwrap();
    let args = ["--model", MODEL, "--tie-band", "0.001", "--report", "r.html"];
    let labels = work.labelled("out.jsonl", &args);
    let report = std::fs::read_to_string(work.path("r.html")).unwrap();
    let row = |what: &str, count: usize| {
        let found = report
            .split("<tr>")
            .any(|row| row.contains(what) && row.contains(&format!(">{count}<")));
        assert!(found, "{what} {count} is not in the report");
    };
    row("asked about", 31);
    row("labelled", 30);
    row("unscorable", 1);
    row("of these ties", labels.iter().filter(|label| label["soft_label"] == 0.5).count());
    // What was chosen is people's label.
    assert!(report.contains("Agreement with people") && report.contains("30 pairs"));
    assert!(report.contains("<svg"), "there is no plot");
}

#[test]
fn what_people_chose_is_measured_against_also_when_labels_are_labelled_again() {
    let work = Work::with(0);
    let pair = |i: usize| {
        json!({"id": i, "prompt": "Say something.", "chosen": format!("It is {i} degrees."),
            "rejected": format!("I have {i} cats.")})
    };
    let lines: String = (0..10).map(|i| format!("{}\n", pair(i))).collect();
    std::fs::write(work.path("pairs.jsonl"), lines).unwrap();
    // The second run is shown what the first one made of them.
    for out in ["first.jsonl", "second.jsonl"] {
        let labels = work.labelled(out, &["--model", MODEL, "--report", "r.html"]);
        for (i, record) in labels.iter().enumerate() {
            assert_eq!(record["human_label"], 1.0, "{record}");
            assert_eq!(record["response_a"], pair(i)["chosen"], "{record}");
        }
        let report = std::fs::read_to_string(work.path("r.html")).unwrap();
        assert!(report.contains("10 pairs, "), "{out} is not measured against people");
        std::fs::copy(work.path(out), work.path("pairs.jsonl")).unwrap();
    }
}

#[test]
fn a_label_can_be_explained() {
    let work = Work::with(1);
    let labelled = work.labelled("out.jsonl", &["--model", MODEL, "--ledger", "l.sqlite"]);
    let id = labelled[0]["label_id"].as_str().unwrap();
    let shown = work.rlaif(&["labels", "show", &id[..12], "--ledger", "l.sqlite"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    for what in [id, "It is 0 degrees.", "I have 0 cats.", "sentiment/compare"] {
        assert!(text.contains(what), "{what} in {text}");
    }
}

#[test]
fn a_panels_label_can_be_explained_by_its_members() {
    let work = Work::with(2);
    let args = ["--model", MODEL, "--model", OTHER, "--ledger", "l.sqlite"];
    for record in work.labelled("out.jsonl", &args) {
        let id = record["label_id"].as_str().unwrap();
        let shown = work.rlaif(&["labels", "show", &id[..12], "--ledger", "l.sqlite"]);
        assert!(shown.status.success(), "{}", stderr(&shown));
        let text = String::from_utf8(shown.stdout).unwrap();
        let label = format!(
            "{:.4} for A, the mean of a panel of 2",
            record["soft_label"].as_f64().unwrap()
        );
        let response = record["response_b"].as_str().unwrap();
        for what in [id, response, label.as_str()] {
            assert!(text.contains(what), "{what} in {text}");
        }
        for member in record["panel"].as_array().unwrap() {
            for field in ["label_id", "model"] {
                assert!(text.contains(member[field].as_str().unwrap()), "{member} in {text}");
            }
            let own = format!("{:.4} for A\n", member["soft_label"].as_f64().unwrap());
            assert!(text.contains(&own), "{own} in {text}");
        }
    }
}

#[test]
fn no_command_writes_over_a_file_that_it_reads_or_writes_besides() {
    let work = Work::with(2);
    let before = std::fs::read(work.path("pairs.jsonl")).unwrap();
    std::os::unix::fs::symlink(work.path("pairs.jsonl"), work.path("link.jsonl")).unwrap();
    let arm = format!("b={MODEL}");
    let commands: [&[&str]; 15] = [
        &["label", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--out", "link.jsonl", "--model", MODEL],
        &[
            "label",
            "--in",
            "pairs.jsonl",
            "--min-confidence",
            "1",
            "--route-uncertain",
            "pairs.jsonl",
            "--model",
            MODEL,
        ],
        &["label", "--in", "pairs.jsonl", "--report", "./pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--ledger", "pairs.jsonl", "--model", MODEL],
        &["label", "--in", "pairs.jsonl", "--out", "n", "--report", "n", "--model", MODEL],
        &["rate", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["align", "--task", "t=pairs.jsonl", "--json", "link.jsonl", "--model", MODEL],
        &["generate", "--in", "pairs.jsonl", "--out", "link.jsonl", "--model", MODEL],
        &["logprobs", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["reward", "curve", "--in", "pairs.jsonl", "--out", "pairs.jsonl", "--model", MODEL],
        &["data", "convert", "--in", "pairs.jsonl", "--to", "prompts", "--out", "pairs.jsonl"],
        &["data", "split", "--in", "pairs.jsonl", "--part", "link.jsonl=1", "--part", "b=1"],
        &["data", "split", "--in", "pairs.jsonl", "--part", "new=1", "--part", "./new=1"],
        &[
            "eval",
            "--prompts",
            "pairs.jsonl",
            "--judge",
            MODEL,
            "--out",
            "e",
            "--arm",
            "a=e/responses/a.jsonl",
            "--arm",
            &arm,
        ],
    ];
    for args in commands {
        let output = work.rlaif(args);
        let said = stderr(&output);
        assert!(
            !output.status.success() && said.contains("is the file that --"),
            "{args:?}: {said}"
        );
        let after = std::fs::read(work.path("pairs.jsonl")).unwrap();
        assert!(after == before, "{args:?} destroyed its input");
    }
}

#[test]
fn a_budget_stops_cleanly_and_a_raised_one_goes_on() {
    let work = Work::with(70);
    let all = work.labelled("all.jsonl", &["--model", MODEL]);
    let args = |tokens| ["--model", MODEL, "--ledger", "l.sqlite", "--max-tokens", tokens];
    let stopped = work.label("some.jsonl", &args("9000"));
    assert!(!stopped.status.success());
    assert!(stderr(&stopped).contains("raise it to go on"), "{}", stderr(&stopped));
    let some = records(&work.path("some.jsonl"));
    assert!((1..70).contains(&some.len()), "{}", some.len());
    let tokens = |records: &[Value]| -> u64 {
        let of = |r: &Value, order: &str| r[order]["prompt_tokens"].as_u64().unwrap();
        records.iter().map(|r| of(r, "order_ab") + of(r, "order_ba")).sum()
    };
    assert!(tokens(&some) <= 9000, "{}", tokens(&some));
    let spent = work.in_ledger();
    assert_eq!(spent, some.len() as u64);
    let rest = work.labelled("rest.jsonl", &args("1000000"));
    assert_eq!((rest.len(), work.in_ledger()), (70, 70));
    // The same labels, whether asked in one go or in two. In other batches the last bits differ.
    for (one, two) in all.iter().zip(&rest) {
        let label = |record: &Value| record["soft_label"].as_f64().unwrap();
        assert_eq!(one["label_id"], two["label_id"]);
        assert!((label(one) - label(two)).abs() < 1e-6);
    }
}

#[test]
fn a_panel_is_the_mean_of_its_members_and_exchanges_exactly() {
    let work = Work::with(3);
    let panel = work.labelled("panel.jsonl", &["--model", MODEL, "--model", OTHER]);
    for record in &panel {
        let member = |i: usize| record["panel"][i]["soft_label"].as_f64().unwrap();
        let mean = (member(0) + member(1)) / 2.0;
        assert!((record["soft_label"].as_f64().unwrap() - mean).abs() < 1e-11, "{record}");
    }
    let exchanged: String = records(&work.path("pairs.jsonl"))
        .into_iter()
        .map(|r| {
            let (a, b) = (&r["response_a"], &r["response_b"]);
            format!("{}\n", json!({"prompt": r["prompt"], "response_a": b, "response_b": a}))
        })
        .collect();
    std::fs::write(work.path("pairs.jsonl"), exchanged).unwrap();
    let back = work.labelled("back.jsonl", &["--model", MODEL, "--model", OTHER]);
    for (there, back) in panel.iter().zip(&back) {
        let (p, q) = (there["soft_label"].as_f64().unwrap(), back["soft_label"].as_f64().unwrap());
        assert_eq!(p, 1.0 - q);
    }
}

#[test]
fn a_person_decides_what_the_labeler_is_unsure_of() {
    let work = Work::with(8);
    let all = work.labelled("all.jsonl", &["--model", MODEL]);
    let mut confidences: Vec<f64> =
        all.iter().map(|record| record["confidence"].as_f64().unwrap()).collect();
    confidences.sort_by(f64::total_cmp);
    let middle = confidences[4].to_string();
    let routed = ["--model", MODEL, "--min-confidence", &middle, "--route-uncertain", "ask.jsonl"];
    let sure = work.labelled("sure.jsonl", &routed);
    let unsure = records(&work.path("ask.jsonl"));
    assert_eq!((sure.len(), unsure.len()), (4, 4));
    // A person answers two of them.
    let mut answered = unsure.clone();
    answered[0]["human"] = json!("a");
    answered[1]["human"] = json!("b");
    let lines: String = answered.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(work.path("answers.jsonl"), lines).unwrap();
    let both =
        work.labelled("both.jsonl", &[&routed[..], &["--answers", "answers.jsonl"]].concat());
    assert_eq!(both.len(), 6);
    let human: Vec<&Value> = both.iter().filter(|r| r["label_source"] == "human").collect();
    assert_eq!(human.len(), 2);
    assert_eq!((&human[0]["soft_label"], &human[1]["soft_label"]), (&json!(1.0), &json!(0.0)));
    assert_eq!(human[1]["chosen"], human[1]["response_b"]);
}

#[test]
fn what_a_person_answered_is_peoples_label_and_outlives_another_labeling() {
    let work = Work::with(2);
    let routed = ["--model", MODEL, "--min-confidence", "1", "--route-uncertain", "ask.jsonl"];
    assert_eq!(work.labelled("sure.jsonl", &routed).len(), 0);
    let asked = std::fs::read_to_string(work.path("ask.jsonl")).unwrap();
    let answered = asked.replacen("\"human\":null", "\"human\":\"b\"", 1);
    std::fs::write(work.path("ask.jsonl"), answered).unwrap();
    let labels = work.labelled("labels.jsonl", &["--model", MODEL, "--answers", "ask.jsonl"]);
    let whose = |label: &Value| (label["label_source"].clone(), label["human_label"].clone());
    assert_eq!(whose(&labels[0]), (json!("human"), json!(0.0)));
    assert_eq!(whose(&labels[1]), (json!("ai"), Value::Null));
    std::fs::copy(work.path("labels.jsonl"), work.path("pairs.jsonl")).unwrap();
    let again = work.labelled("again.jsonl", &["--model", MODEL]);
    assert_eq!(whose(&again[0]), (json!("ai"), json!(0.0)));
}

#[test]
fn pairs_from_a_pipe_are_labelled_as_from_a_file() {
    let work = Work::with(3);
    let from_file = work.labelled("file.jsonl", &["--model", MODEL]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(["label", "--in", "/dev/stdin", "--out", "piped.jsonl", "--model", MODEL]);
    command.args(["--template", "sentiment/compare"]).current_dir(work.folder.path());
    let mut labeling = command.stdin(Stdio::piped()).spawn().unwrap();
    let pairs = std::fs::read(work.path("pairs.jsonl")).unwrap();
    labeling.stdin.take().unwrap().write_all(&pairs).unwrap();
    assert!(labeling.wait().unwrap().success());
    assert_eq!(records(&work.path("piped.jsonl")), from_file);
}

#[test]
fn what_was_generated_is_rated_whatever_its_prompts_came_in() {
    let work = Work::with(0);
    let prompts = [
        json!({"prompt": "Say something."}),
        json!({"id": "t3_1", "subreddit": "tifu", "title": "Keys", "post": "I lost my keys."}),
        json!({"instruction": "Greet", "input": "Ann", "output": "Hello"}),
    ];
    let lines: String = prompts.iter().map(|record| format!("{record}\n")).collect();
    std::fs::write(work.path("prompts.jsonl"), lines).unwrap();
    let run = |args: &[&str]| {
        let output = work.rlaif(&[args, &["--model", MODEL]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
    };
    let generate = ["generate", "--in", "prompts.jsonl", "--out", "new.jsonl"];
    run(&[&generate[..], &["--max-new-tokens", "4", "--ignore-eos"]].concat());
    let new = records(&work.path("new.jsonl"));
    assert_eq!(new.len(), 3);
    for (record, prompt) in new.iter().zip(["Say something.", "POST: I lost my keys.", "Greet"]) {
        assert!(record["prompt"].as_str().unwrap().contains(prompt), "{record}");
    }
    run(&["rate", "--in", "new.jsonl", "--out", "rated.jsonl", "--template", "sentiment/rubric"]);
    let rated = records(&work.path("rated.jsonl"));
    assert_eq!(rated.len(), 3);
    for (rated, new) in rated.iter().zip(&new) {
        assert_eq!(rated["completion"], new["completion"]);
        assert!(rated["score"].is_f64() || rated["unscorable"].is_object(), "{rated}");
    }
}

/// An audit of two pairs with people's labels that says `complaint` and asks nothing.
#[track_caller]
fn audit_refused(task: &str, options: &str, complaint: &str) {
    let work = Work::with(0);
    let pair = |i: usize| json!({"prompt": "Say something.", "chosen": format!("{i} cats"), "rejected": "No"});
    std::fs::write(work.path("pairs.jsonl"), format!("{}\n{}\n", pair(1), pair(2))).unwrap();
    let task = format!("{task}=pairs.jsonl");
    let audit = ["align", "--task", &task, "--model", MODEL, "--ledger", "l.sqlite"];
    let options: Vec<&str> = options.split_whitespace().collect();
    let output = work.rlaif(&[&audit[..], &options].concat());
    assert!(!output.status.success(), "{options:?} succeeded");
    assert!(stderr(&output).contains(complaint), "{options:?}: {}", stderr(&output));
    assert!(!work.path("l.sqlite").exists(), "{options:?}: the ledger was opened to ask");
}

#[test]
fn an_audit_whose_report_could_not_be_written_asks_nothing() {
    for (options, complaint) in [
        ("--mass-floor 2", "mass floor is 2"),
        ("--out nodir/a.html", "nodir/a.html"),
        ("--json nodir/a.json", "nodir/a.json"),
        ("--out .", "directory"),
        ("--random-exemplars", "--shots"),
    ] {
        audit_refused("sentiment", &format!("--template compare {options}"), complaint);
    }
}

/// A labeler that answers `good` times, and has a key that is wrong from then on.
fn closed_after(good: usize) -> Vec<Act> {
    let refusal = Act::status(401, r#"{"error": {"message": "no such key"}}"#);
    [vec![biased(); good], vec![refusal]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_the_labeler_refuses_ends_with_an_error_and_no_report() {
    for good in [0, 70] {
        let server = ScriptedHttp::start(closed_after(good)).await;
        let work = Work::with(0);
        describe(&work, &server);
        let pair = |i: usize| {
            json!({"prompt": "Say something.", "chosen": format!("It is {i} degrees."),
                "rejected": format!("I have {i} cats.")})
        };
        let lines: String = (0..100).map(|i| format!("{}\n", pair(i))).collect();
        std::fs::write(work.path("pairs.jsonl"), lines).unwrap();
        let audit = ["align", "--task", "sentiment=pairs.jsonl", "--template", "compare"];
        let rest = ["--model", "m.toml", "--out", "a.html", "--json", "a.json"];
        let output = work.rlaif(&[&audit[..], &rest].concat());
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains("refuses to answer"), "{said}");
        assert!(said.contains("no such key") && said.contains("m.toml"), "{said}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(!work.path("a.html").exists() && !work.path("a.json").exists());
        assert_eq!(server.requests().len(), good + 1);
    }
}

#[test]
fn an_audit_of_a_task_of_ones_own_says_that_it_needs_a_template() {
    audit_refused("hunger", "", "--template FILE.toml");
}

#[test]
fn answers_of_people_are_never_written_over() {
    let work = Work::with(4);
    let routed = ["--model", MODEL, "--min-confidence", "1", "--route-uncertain", "ask.jsonl"];
    work.labelled("sure.jsonl", &routed);
    let mut asked = records(&work.path("ask.jsonl"));
    assert_eq!(asked.len(), 4);
    // Whom nobody has answered yet may be asked anew.
    work.labelled("sure.jsonl", &routed);
    asked[1]["human"] = json!("b");
    let answered: String = asked.iter().map(|record| format!("{record}\n")).collect();
    let one_name = [&routed[..], &["--answers", "ask.jsonl"]].concat();
    for (file, args, complaint) in [
        (answered.clone(), &routed[..], "holds answers of people (1)"),
        // A slip of the person's pen is no reason to throw away what else is written there.
        (answered.replace("\"human\":null", "\"human\":a"), &routed[..], "may hold answers"),
        (answered.clone(), &one_name[..], "is the file that --answers reads"),
    ] {
        std::fs::write(work.path("ask.jsonl"), &file).unwrap();
        let output = work.label("none.jsonl", args);
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(complaint), "{complaint}: {said}");
        assert_eq!(std::fs::read_to_string(work.path("ask.jsonl")).unwrap(), file);
    }
    let two_names = [
        "--model",
        MODEL,
        "--min-confidence",
        "1",
        "--answers",
        "ask.jsonl",
        "--route-uncertain",
        "open.jsonl",
    ];
    let by_people = work.labelled("out.jsonl", &two_names);
    assert_eq!((by_people.len(), &by_people[0]["soft_label"]), (1, &json!(0.0)));
    assert_eq!(records(&work.path("open.jsonl")).len(), 3);
}

#[test]
fn a_run_that_was_killed_while_it_wrote_for_people_is_begun_again_by_the_same_command() {
    let work = Work::with(4);
    let routed = ["--model", MODEL, "--min-confidence", "1", "--route-uncertain", "ask.jsonl"];
    work.labelled("sure.jsonl", &routed);
    let whole = std::fs::read_to_string(work.path("ask.jsonl")).unwrap();
    let torn = &whole[..whole.len() - 20];
    std::fs::write(work.path("ask.jsonl"), torn).unwrap();
    work.labelled("sure.jsonl", &routed);
    assert_eq!(records(&work.path("ask.jsonl")).len(), 4);
    // What somebody has answered in a line before stays, and counts.
    let answered = torn.replacen("\"human\":null", "\"human\":\"a\"", 1);
    std::fs::write(work.path("ask.jsonl"), &answered).unwrap();
    let refused = work.label("sure.jsonl", &routed);
    assert!(stderr(&refused).contains("answers of people (1)"), "{}", stderr(&refused));
    let answers = ["--model", MODEL, "--answers", "ask.jsonl"];
    let labels = work.labelled("all.jsonl", &answers);
    assert_eq!(labels.iter().filter(|label| label["label_source"] == "human").count(), 1);
    // Elsewhere a line that is no record is a mistake.
    let broken = format!("{torn}\n{answered}");
    std::fs::write(work.path("ask.jsonl"), broken).unwrap();
    assert!(!work.label("all.jsonl", &answers).status.success());
}

#[test]
fn lines_of_json_are_not_written_under_another_containers_name() {
    let work = Work::with(1);
    for name in ["q.jsonl.gz", "q.GZ", "q.Parquet"] {
        let routed = ["--model", MODEL, "--min-confidence", "1", "--route-uncertain", name];
        for output in [work.label("out.jsonl", &routed), work.label(name, &["--model", MODEL])] {
            assert!(!output.status.success() && !work.path(name).exists(), "{name} is written");
            assert!(stderr(&output).contains("data convert"), "{}", stderr(&output));
        }
    }
}

#[test]
fn answers_that_fit_no_pair_are_counted_and_contradictions_refused() {
    let work = Work::with(4);
    work.labelled(
        "sure.jsonl",
        &["--model", MODEL, "--min-confidence", "1", "--route-uncertain", "ask.jsonl"],
    );
    let mut answers = records(&work.path("ask.jsonl"));
    for record in &mut answers[..3] {
        record["human"] = json!("a");
    }
    let write = |answers: &[Value]| {
        let lines: String = answers.iter().map(|record| format!("{record}\n")).collect();
        std::fs::write(work.path("answers.jsonl"), lines).unwrap();
    };
    let said = |options: &[&str]| {
        let args = ["--model", MODEL, "--answers", "answers.jsonl"];
        let output = work.label("out.jsonl", &[&args[..], options].concat());
        (output.status.success(), stderr(&output))
    };
    write(&answers);
    let (is_done, fitting) = said(&[]);
    assert!(is_done && !fitting.contains("fit no pair"), "{fitting}");
    // Asked in another way it is another label, which nobody has answered.
    let (is_done, other) = said(&["--min-verdict-mass", "0.000001"]);
    assert!(is_done && other.contains("3 of 3 answers in answers.jsonl fit no pair"), "{other}");
    let first = std::fs::read_to_string(work.path("pairs.jsonl")).unwrap();
    std::fs::write(work.path("pairs.jsonl"), first.lines().next().unwrap()).unwrap();
    let (is_done, fewer) = said(&[]);
    assert!(is_done && fewer.contains("2 of 3 answers in answers.jsonl fit no pair"), "{fewer}");
    // Twice the same is no contradiction.
    answers.push(answers[0].clone());
    write(&answers);
    assert!(said(&[]).0);
    answers[4]["human"] = json!("b");
    write(&answers);
    let (is_done, contradiction) = said(&[]);
    assert!(!is_done && contradiction.contains("answers.jsonl:5: \"human\""), "{contradiction}");
}

#[test]
fn a_run_says_where_its_pairs_went_and_a_confidence_that_is_none_is_refused() {
    let work = Work::with(4);
    let output = work.label("sure.jsonl", &["--model", MODEL, "--min-confidence", "1"]);
    assert!(output.status.success() && records(&work.path("sure.jsonl")).is_empty());
    let said = stderr(&output);
    assert!(said.contains("4 pairs: 0 labelled, 4 not sure enough, 0 unscorable"), "{said}");
    // Ties are never sure.
    let ties = ["--model", MODEL, "--tie-band", "1", "--min-confidence", "0.001"];
    let said = stderr(&work.label("none.jsonl", &ties));
    assert!(said.contains("4 pairs: 0 labelled, 4 not sure enough"), "{said}");
    for (options, complaint) in [
        (&["--min-confidence", "2"][..], "a number from 0"),
        (&["--min-confidence=-1"], "a number from 0"),
        (&["--min-confidence", "NaN"], "a number from 0"),
        (&["--tie-band", "7"], "a number from 0"),
        // Without a bound the file for people would be empty.
        (&["--route-uncertain", "ask.jsonl"], "--min-confidence"),
    ] {
        let output = work.label("out.jsonl", &[&["--model", MODEL][..], options].concat());
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(complaint), "{options:?}: {said}");
        assert!(!work.path("out.jsonl").exists() && !work.path("ask.jsonl").exists());
    }
}

#[test]
fn labels_whose_report_could_not_be_written_are_not_asked_for() {
    let work = Work::with(2);
    for place in ["nodir/r.html", "."] {
        let args = ["--model", MODEL, "--ledger", "l.sqlite", "--report", place];
        let output = work.label("out.jsonl", &args);
        assert!(!output.status.success() && stderr(&output).contains(place), "{}", stderr(&output));
        assert!(!work.path("l.sqlite").exists() && !work.path("out.jsonl").exists());
    }
}

#[test]
fn labels_within_the_tie_band_are_ties() {
    let work = Work::with(4);
    let ties = work.labelled("ties.jsonl", &["--model", MODEL, "--tie-band", "1"]);
    assert!(ties.iter().all(|record| record["soft_label"] == 0.5));
}

#[test]
fn a_rating_does_not_stand_beside_what_an_earlier_run_said() {
    let work = Work::with(0);
    let why = json!({"reason": "engine_failed", "detail": "500"});
    let lines = [
        json!({"prompt": "Say something.", "response": "Fine.", "unscorable": why}),
        json!({"prompt": "Say something.", "response": " ", "score": 7.0, "reward": 0.25,
            "label_id": "x", "answers": []}),
    ];
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(work.path("items.jsonl"), lines).unwrap();
    let rate = ["rate", "--in", "items.jsonl", "--out", "out.jsonl", "--model", MODEL];
    let output = work.rlaif(&[&rate[..], &["--template", "sentiment/rating"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let rated = records(&work.path("out.jsonl"));
    assert!(rated[0]["score"].is_f64() && rated[0].get("unscorable").is_none(), "{}", rated[0]);
    assert_eq!(rated[1]["unscorable"]["reason"], "bad_item");
    for field in ["score", "reward", "label_id", "answers"] {
        assert!(rated[1].get(field).is_none(), "{field} in {}", rated[1]);
    }
}

/// A server that names the first response in both orders.
fn biased() -> Act {
    let named = json!([{"token": "1", "logprob": -0.1}, {"token": "2", "logprob": -2.4}]);
    let content = json!([{"token": "1", "logprob": -0.1, "top_logprobs": named}]);
    let choice = json!({"message": {"role": "assistant", "content": "1"}, "finish_reason": "length",
        "logprobs": {"content": content}});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 1});
    Act::ok(json!({"model": "m", "choices": [choice], "usage": usage}).to_string())
}

/// A server that fails both questions of the first pair it is asked about, each twice, and then answers.
fn failing_once() -> Vec<Act> {
    [vec![Act::status(500, "oops"); 4], vec![biased()]].concat()
}

/// Describes the server for `--model m.toml`.
fn describe(work: &Work, server: &ScriptedHttp) {
    let endpoint = format!(
        "base_url = \"{}/v1\"\nmodel = \"m\"\nmax_attempts = 2\nmax_concurrency = 1\n\
         first_backoff = \"1ms\"\n",
        server.url()
    );
    std::fs::write(work.path("m.toml"), endpoint).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judgement_that_failed_has_no_verdict_that_the_input_had() {
    let work = Work::with(0);
    let pair = |i: usize| {
        json!({"id": i, "prompt": "Say something.", "chosen": format!("It is {i} degrees."),
            "rejected": format!("I have {i} cats.")})
    };
    let lines: String = (0..3).map(|i| format!("{}\n", pair(i))).collect();
    std::fs::write(work.path("pairs.jsonl"), lines).unwrap();
    let is_failed = |record: &&Value| record.get("unscorable").is_some();
    let of_a_label =
        ["chosen", "rejected", "soft_label", "label_id", "label_source", "confidence", "order_ab"];
    // First of people's pairs, then of those that the run before has labelled.
    for out in ["first.jsonl", "second.jsonl"] {
        let server = ScriptedHttp::start(failing_once()).await;
        describe(&work, &server);
        let labels = work.labelled(out, &["--model", "m.toml"]);
        let failed: Vec<&Value> = labels.iter().filter(is_failed).collect();
        assert_eq!(failed.len(), 1, "{labels:?}");
        for field in of_a_label {
            assert!(failed[0].get(field).is_none(), "{field} in {}", failed[0]);
        }
        assert!(failed[0]["id"].is_u64() && failed[0]["response_b"].is_string(), "{}", failed[0]);
        // What people chose stays theirs, whatever the labeler says or cannot say.
        assert!(labels.iter().all(|record| record["human_label"] == 1.0), "{labels:?}");
        let seen = work.rlaif(&["data", "inspect", "--in", out, "--json"]);
        let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
        let pairs = &seen["preferences"];
        assert_eq!((&seen["bad"], &pairs["pairs"]), (&json!(0), &json!(3)));
        assert_eq!((&pairs["human"], &pairs["ai"]), (&json!(3), &json!(2)));
        // Asked again, all have a label and nobody says any more that there is none.
        std::fs::copy(work.path(out), work.path("pairs.jsonl")).unwrap();
        let labels = work.labelled("again.jsonl", &["--model", "m.toml"]);
        assert_eq!(labels.iter().filter(is_failed).count(), 0, "{labels:?}");
        assert!(
            labels.iter().all(|record| record["soft_label"] == 0.5 && record["chosen"].is_string())
        );
        std::fs::copy(work.path("again.jsonl"), work.path("pairs.jsonl")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_answered_stands_also_where_the_labeler_fails() {
    // Both orders of three pairs are answered, then one pair fails.
    let server = ScriptedHttp::start([vec![biased(); 6], failing_once()].concat()).await;
    let work = Work::with(3);
    describe(&work, &server);
    let routed = ["--model", "m.toml", "--min-confidence", "0.5", "--route-uncertain", "ask.jsonl"];
    assert_eq!(work.labelled("sure.jsonl", &routed).len(), 0);
    let answered = records(&work.path("ask.jsonl")).into_iter().map(|mut record| {
        record["human"] = json!("a");
        format!("{record}\n")
    });
    std::fs::write(work.path("answered.jsonl"), answered.collect::<String>()).unwrap();
    let labels = work.labelled("out.jsonl", &["--model", "m.toml", "--answers", "answered.jsonl"]);
    assert_eq!(labels.len(), 3);
    for record in &labels {
        assert_eq!(
            (&record["label_source"], &record["soft_label"]),
            (&json!("human"), &json!(1.0))
        );
        assert!(record.get("unscorable").is_none(), "{record}");
    }
    assert_eq!(labels.iter().filter(|record| record.get("order_ab").is_none()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_a_model_like_others_and_nothing_is_paid_twice() {
    // What fails for good costs its own pair its label, for now: 4 attempts of the 2 questions.
    let server = ScriptedHttp::start(failing_once()).await;
    let work = Work::with(3);
    describe(&work, &server);
    let prices = "[prices.m]\ninput_per_1k = 0.03\noutput_per_1k = 0.06\n";
    std::fs::write(work.path("prices.toml"), prices).unwrap();
    let args = ["--model", "m.toml", "--ledger", "l.sqlite", "--prices", "prices.toml"];
    let first = work.labelled("first.jsonl", &args);
    assert_eq!(first.iter().filter(|r| r.get("unscorable").is_some()).count(), 1, "{first:?}");
    assert_eq!(first.iter().filter(|r| r["soft_label"] == 0.5).count(), 2);
    let asked = server.requests().len();
    // The pair that failed is asked again, the others are known.
    let output = work.label("second.jsonl", &args);
    let second = records(&work.path("second.jsonl"));
    assert!(second.iter().all(|record| record["soft_label"] == 0.5), "{second:?}");
    assert_eq!(server.requests().len(), asked + 2);
    // 3 pairs, 2 orders, 1000 tokens read at $0.03 and 1 written at $0.06 a thousand.
    assert!(stderr(&output).contains("0.18036"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_says_which_of_its_members_it_goes_on_without() {
    let server = ScriptedHttp::start([Act::status(401, "no such key")]).await;
    let work = Work::with(3);
    describe(&work, &server);
    let panel = ["--model", MODEL, "--model", "m.toml", "--quorum", "1"];
    let output = work.label("out.jsonl", &panel);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(records(&work.path("out.jsonl")).iter().all(|label| label["soft_label"].is_f64()));
    let (said, member) = (stderr(&output), format!("m at {}/v1", server.url()));
    let first = format!("the panel goes on without {member}: engine_refused");
    let all = format!("labels that the panel made without {member}: 3");
    assert!(said.contains(&first) && said.contains(&all), "{said}");
}

#[test]
fn an_endpoint_file_that_makes_no_sense_says_all_that_is_wrong() {
    let work = Work::with(1);
    std::fs::write(work.path("m.toml"), "base_url = \"ftp://x\"\nmax_attempts = 0\n").unwrap();
    let error = stderr(&work.label("out.jsonl", &["--model", "m.toml"]));
    for what in ["m.toml", "base_url", "model must be given", "max_attempts"] {
        assert!(error.contains(what), "{what} in {error}");
    }
}
