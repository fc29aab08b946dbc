//! Versions of a policy among a job's artifacts: the learner publishes them, others look them up.

use crate::{BlockingArtifacts, Failure};

/// Artifact of the trainable parameters after a step. Numbers are padded: names sort as steps do.
pub fn version_name(step: usize) -> String {
    format!("versions/policy-{step:08}.safetensors")
}

/// Artifact of the training state after a step, numbered likewise.
pub fn state_name(step: usize) -> String {
    format!("state/policy-{step:08}.safetensors")
}

/// The versions that are kept, oldest first, by the step that made them and their artifact.
///
/// # Errors
/// When the store fails.
pub fn kept_versions(artifacts: &BlockingArtifacts) -> Result<Vec<(u64, String)>, Failure> {
    let names = artifacts.list("versions")?.into_iter();
    let numbered = names.filter_map(|name| {
        let step = name.strip_prefix("versions/policy-")?.strip_suffix(".safetensors")?;
        Some((step.parse().ok()?, name))
    });
    Ok(numbered.collect())
}
