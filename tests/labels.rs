//! `rlaif label` as its users see it.

use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");

fn label(records: &[Value]) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args(["label", "--model", MODEL, "--template", "sentiment/compare"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input: String = records.iter().map(|r| format!("{r}\n")).collect();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pair(a: &str, b: &str) -> Value {
    json!({"prompt": "Say something.", "response_a": a, "response_b": b, "source": "kept"})
}

#[test]
fn exchanging_a_and_b_gives_exactly_one_minus_the_label() {
    let texts = [("A fine day.", "A grim day."), ("Yes", "No, never again"), ("x", "naïve 🚀")];
    let forward = label(&texts.map(|(a, b)| pair(a, b)));
    let backward = label(&texts.map(|(a, b)| pair(b, a)));
    for (forward, backward) in forward.iter().zip(&backward) {
        let (p, q) =
            (forward["soft_label"].as_f64().unwrap(), backward["soft_label"].as_f64().unwrap());
        assert_eq!(p, 1.0 - q);
        assert_eq!(forward["chosen"], backward["chosen"]);
        assert_eq!(forward["source"], "kept");
        assert_ne!(forward["label_id"], backward["label_id"]);
    }
}

#[test]
fn trl_pairs_come_back_as_trl_pairs() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let input = json!({
        "chosen": [message("user", "Hi"), message("assistant", "Hello!")],
        "rejected": [message("user", "Hi"), message("assistant", "Go away.")],
    });
    let labelled = &label(&[input])[0];
    assert_eq!(labelled["prompt"], json!([message("user", "Hi")]));
    for side in ["chosen", "rejected"] {
        assert_eq!(labelled[side][0]["role"], "assistant");
    }
    assert_eq!(labelled["order_ab"]["verdict_logprobs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_pair_that_cannot_be_judged_has_a_reason_and_no_label() {
    let labelled =
        label(&[pair("fine", "good"), pair("", "good"), pair("bad", &"long ".repeat(600))]);
    assert!(labelled[0]["soft_label"].is_f64());
    for (record, reason) in [(&labelled[1], "bad_item"), (&labelled[2], "prompt_too_long")] {
        assert_eq!(record["unscorable"]["reason"], reason);
        assert!(record.get("soft_label").is_none());
    }
}
