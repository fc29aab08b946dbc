//! What a run says of its labels: what became of the pairs, which are ties, how the labeler agrees with
//! people, how one label came about.

use crate::{MODEL, Work, preference, records, stderr};
use serde_json::json;

#[test]
fn a_run_reports_what_became_of_its_pairs_and_how_good_the_labeler_is() {
    let empty = json!({"prompt": "Say something.", "chosen": "Yes", "rejected": " "});
    let work = Work::of((0..30).map(preference).chain([empty]));
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
    let work = Work::of((0..10).map(preference));
    // The second run is shown what the first one made of them.
    for out in ["first.jsonl", "second.jsonl"] {
        let labels = work.labelled(out, &["--model", MODEL, "--report", "r.html"]);
        for (i, record) in labels.iter().enumerate() {
            assert_eq!(record["human_label"], 1.0, "{record}");
            assert_eq!(record["response_a"], preference(i)["chosen"], "{record}");
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
fn labels_within_the_tie_band_are_ties() {
    let work = Work::with(4);
    let ties = work.labelled("ties.jsonl", &["--model", MODEL, "--tie-band", "1"]);
    assert!(ties.iter().all(|record| record["soft_label"] == 0.5));
}
