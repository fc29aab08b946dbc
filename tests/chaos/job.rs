//! The job that goes through the storm: every stage of the canonical one, in items so small that each
//! pair, rollout and contest is an item of its own.

use std::path::{Path, PathBuf};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/tiny-llama");
const PROMPTS: usize = 48;

/// How much of a job.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Pairs, each of which is one item for a rollout worker and one for a labeler.
    pub pairs: usize,
    /// Policy steps, each of which saves its state.
    pub steps: usize,
}

/// Writes the job into `folder`; its file.
pub fn write(folder: &Path, size: Size) -> PathBuf {
    let prompts = |word: &str| -> String {
        (0..PROMPTS).map(|i| format!("{{\"prompt\": \"{word} {i}\"}}\n")).collect()
    };
    std::fs::write(folder.join("prompts.jsonl"), prompts("Tell me about")).unwrap();
    std::fs::write(folder.join("heldout.jsonl"), prompts("What is")).unwrap();
    let Size { pairs, steps } = size;
    // Without adapters, so that a training state is large enough to be caught half written.
    let job = format!(
        r#"
        name = "storm"
        seed = 3
        chunk_size = 1
        policy = {{ model = "{MODEL}", chat = false }}
        labeler = {{ model = "{MODEL}", template = "sentiment/compare" }}
        data = {{ prompts = "prompts.jsonl", heldout_prompts = "heldout.jsonl" }}
        sampling = {{ max_new_tokens = 8 }}
        [reward_model]
        pairs = {pairs}
        epochs = 1
        batch_size = 32
        optimizer = {{ lr = 1e-3 }}
        [rl]
        reward = "model"
        steps = {steps}
        batch_size = 8
        checkpoint_every = 1
        reinforce = {{ policy = {{ lr = 1e-3 }}, value = {{ lr = 1e-3 }} }}
        "#
    );
    let path = folder.join("job.toml");
    std::fs::write(&path, job).unwrap();
    path
}
