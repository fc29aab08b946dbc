//! Labels cost what was said before, are paid for once, within a budget, and not for nothing.

use crate::{MODEL, Work, records, stderr};
use serde_json::{Value, json};

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
fn labels_whose_report_could_not_be_written_are_not_asked_for() {
    let work = Work::with(2);
    for place in ["nodir/r.html", "."] {
        let args = ["--model", MODEL, "--ledger", "l.sqlite", "--report", place];
        let output = work.label("out.jsonl", &args);
        assert!(!output.status.success() && stderr(&output).contains(place), "{}", stderr(&output));
        assert!(!work.path("l.sqlite").exists() && !work.path("out.jsonl").exists());
    }
}
