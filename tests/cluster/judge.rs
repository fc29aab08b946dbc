//! A job with a judge of its own, and labelers that have both models.

use crate::processes::{Crewed, RLAIF};
use rlaif_testkit::{ANOTHER_TINY_MODEL, TinyJob, free_port, run_alone};
use serde_json::Value;

#[test]
fn labelers_judge_with_the_model_that_a_job_names_beside_the_one_that_labels() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!(
        r#"
        chunk_size = 4
        lora = {{ rank = 2 }}
        sampling = {{ max_new_tokens = 6 }}
        evaluate.judge = {{ model = "{ANOTHER_TINY_MODEL}" }}
        [reward_model]
        pairs = 8
        epochs = 1
        batch_size = 4
        [rl]
        reward = "model"
        steps = 1
        batch_size = 4
        "#
    );
    let (job, out) = (dir.path().join("job.toml"), dir.path().join("alone"));
    TinyJob { template: "sentiment/compare", ..TinyJob::default() }.write(&job, &settings);
    run_alone(RLAIF, &job, &out);
    let alone = std::fs::read(out.join("manifest.json")).unwrap();
    let alone: Value = serde_json::from_slice(&alone).unwrap();
    assert!(alone["judge_hash"].is_string() && alone["judge_hash"] != alone["labeler_hash"]);

    let dead = format!("http://127.0.0.1:{}", free_port());
    let crewed = Crewed::start(&dir.path().join("cluster"), 2, &dead);
    let id = crewed.cluster.submit(&job);
    assert_eq!(crewed.manifest(&id), alone);
}
