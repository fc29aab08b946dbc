//! People decide what the labeler is unsure of, and what they answered is never lost.

use crate::{MODEL, Work, biased, describe, failing_once, records, stderr};
use rlaif_testkit::ScriptedHttp;
use serde_json::{Value, json};

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
    work.write("answers.jsonl", &answered);
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
    let write = |answers: &[Value]| work.write("answers.jsonl", answers);
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
        record
    });
    work.write("answered.jsonl", answered);
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
