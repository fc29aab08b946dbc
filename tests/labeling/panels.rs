//! A panel of models is the mean of its members, and says what each of them did.

use crate::{MODEL, Work, describe, records, stderr};
use rlaif_testkit::{Act, ScriptedHttp};
use serde_json::json;

const OTHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-qwen2");

#[test]
fn a_panel_is_the_mean_of_its_members_and_exchanges_exactly() {
    let work = Work::with(3);
    let panel = work.labelled("panel.jsonl", &["--model", MODEL, "--model", OTHER]);
    for record in &panel {
        let member = |i: usize| record["panel"][i]["soft_label"].as_f64().unwrap();
        let mean = (member(0) + member(1)) / 2.0;
        assert!((record["soft_label"].as_f64().unwrap() - mean).abs() < 1e-11, "{record}");
    }
    let exchanged = records(&work.path("pairs.jsonl")).into_iter().map(|r| {
        let (a, b) = (&r["response_a"], &r["response_b"]);
        json!({"prompt": r["prompt"], "response_a": b, "response_b": a})
    });
    work.write("pairs.jsonl", exchanged);
    let back = work.labelled("back.jsonl", &["--model", MODEL, "--model", OTHER]);
    for (there, back) in panel.iter().zip(&back) {
        let (p, q) = (there["soft_label"].as_f64().unwrap(), back["soft_label"].as_f64().unwrap());
        assert_eq!(p, 1.0 - q);
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
