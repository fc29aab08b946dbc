//! `rlaif align` asks nothing where it could not report, and fails where its labeler refuses.

use crate::{MODEL, Work, biased, describe, preference, stderr};
use rlaif_testkit::{Act, ScriptedHttp};

/// An audit of two pairs with people's labels that says `complaint` and asks nothing.
#[track_caller]
fn audit_refused(task: &str, options: &str, complaint: &str) {
    let work = Work::of((0..2).map(preference));
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
        let work = Work::of((0..100).map(preference));
        describe(&work, &server);
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
