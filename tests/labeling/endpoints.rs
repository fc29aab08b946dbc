//! A model behind an endpoint is a labeler like others, and what it fails at is asked again.

use crate::{Work, describe, failing_once, preference, records, stderr};
use rlaif_testkit::ScriptedHttp;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_judgement_that_failed_has_no_verdict_that_the_input_had() {
    let work = Work::of((0..3).map(preference));
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

#[test]
fn an_endpoint_file_that_makes_no_sense_says_all_that_is_wrong() {
    let work = Work::with(1);
    std::fs::write(work.path("m.toml"), "base_url = \"ftp://x\"\nmax_attempts = 0\n").unwrap();
    let error = stderr(&work.label("out.jsonl", &["--model", "m.toml"]));
    for what in ["m.toml", "base_url", "model must be given", "max_attempts"] {
        assert!(error.contains(what), "{what} in {error}");
    }
}
