//! The job that goes through the storm: every stage of the canonical one, in items so small that each
//! pair, rollout and contest is an item of its own.

use rlaif_testkit::TinyJob;
use std::path::{Path, PathBuf};

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
    let Size { pairs, steps } = size;
    // Without adapters, so that a training state is large enough to be caught half written.
    let settings = format!(
        r#"
        seed = 3
        chunk_size = 1
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
    let job = TinyJob {
        template: "sentiment/compare",
        prompts: PROMPTS,
        heldout_prompts: PROMPTS,
        ..TinyJob::default()
    };
    job.write(&path, &settings);
    path
}
