//! A job whose labeler is behind an endpoint, and whose budget ends before its labels do.

use crate::{Scene, lines};
use rlaif_testkit::{Faults, TinyJob};
use std::path::Path;

const PAIRS: usize = 32;

fn write_job(scene: &Scene) {
    let settings = format!(
        r#"
        lora = {{ rank = 2 }}
        [sampling]
        max_new_tokens = 8
        [reward_model]
        pairs = {PAIRS}
        heldout_fraction = 0.25
        epochs = 1
        batch_size = 8
        [rl]
        reward = "model"
        steps = 1
        batch_size = 4
        "#
    );
    let job = TinyJob {
        labeler: "oracle.toml",
        template: "helpful/base",
        prompts: 16,
        heldout_prompts: 16,
        ..TinyJob::default()
    };
    job.write(&scene.path("job.toml"), &settings);
}

fn ledger(scene: &Scene) -> rlaif_ledger::Reader {
    rlaif_ledger::Reader::open(scene.path("out/labels.sqlite")).unwrap()
}

#[test]
fn stopped_at_its_ceiling_and_resumed_with_more_it_pays_for_each_label_once() {
    let scene = Scene::new(Faults { one_in: 10, mute_one_in: 0 });
    write_job(&scene);
    let stopped = scene.rlaif("run job.toml --out out --max-tokens 6000").output().unwrap();
    assert!(!stopped.status.success());
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert!(said.contains("max_tokens = 6000: raise it to go on, then resume the job"), "{said}");
    let paid = scene.oracle.questions();
    assert!(paid > 0, "nothing was begun");
    let spent: u64 = ledger(&scene).spent().unwrap().iter().map(|s| s.usage.tokens()).sum();
    assert!(spent <= 6000, "{spent} tokens were spent");

    let resumed = scene.rlaif("run job.toml --out out --resume").output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(scene.oracle.repeated(), 0, "something was paid twice");
    let labels = lines(&scene.path("out/labels.jsonl"));
    assert_eq!(labels.len(), PAIRS);
    assert!(labels.iter().all(|label| label["labeler"] == "oracle"));
    assert_labels_are_explained(&scene, &labels[0]["label_id"]);
    assert!(Path::exists(&scene.path("out/report.html")));
}

/// A label of a job is found in the job's ledger, with who made it.
fn assert_labels_are_explained(scene: &Scene, id: &serde_json::Value) {
    let id = id.as_str().unwrap();
    let shown = scene.rlaif(&format!("labels show {id} --ledger out/labels.sqlite")).output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    for expected in [id, "oracle", "helpful/base", "tries"] {
        assert!(shown.contains(expected), "{expected} is missing:\n{shown}");
    }
}

#[test]
fn an_endpoint_that_no_worker_knows_is_a_clear_mistake() {
    let scene = Scene::new(Faults::default());
    write_job(&scene);
    std::fs::remove_file(scene.path("oracle.toml")).unwrap();
    let refused = scene.rlaif("run job.toml --out out").output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("oracle.toml") && said.contains("describe the endpoint"), "{said}");
    scene.write("oracle.toml", "base_url = \"http://127.0.0.1:1/v1\"\nsecret = \"hush\"\n");
    let refused = scene.rlaif("run job.toml --out out2").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("line 2: unknown field"), "{said}");
    assert!(!said.contains("hush"), "the file's content is repeated: {said}");
}
