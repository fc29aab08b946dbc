//! `rlaif rate`, of what was generated and of what was rated before.

use crate::{MODEL, Work, records, stderr};
use serde_json::json;

#[test]
fn what_was_generated_is_rated_whatever_its_prompts_came_in() {
    let work = Work::with(0);
    let prompts = [
        json!({"prompt": "Say something."}),
        json!({"id": "t3_1", "subreddit": "tifu", "title": "Keys", "post": "I lost my keys."}),
        json!({"instruction": "Greet", "input": "Ann", "output": "Hello"}),
    ];
    work.write("prompts.jsonl", &prompts);
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

#[test]
fn a_rating_does_not_stand_beside_what_an_earlier_run_said() {
    let work = Work::with(0);
    let why = json!({"reason": "engine_failed", "detail": "500"});
    let items = [
        json!({"prompt": "Say something.", "response": "Fine.", "unscorable": why}),
        json!({"prompt": "Say something.", "response": " ", "score": 7.0, "reward": 0.25,
            "label_id": "x", "answers": []}),
    ];
    work.write("items.jsonl", &items);
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
