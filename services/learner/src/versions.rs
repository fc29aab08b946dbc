//! Versions of a policy and training states among a job's artifacts: how they are called, and how
//! long they are kept.

use rlaif_models::CausalLm;
use rlaif_rl::TrainerState;
use rlaif_types::ContentHash;
use rlaif_worker::{BlockingArtifacts, Failure, version_name};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Training states kept of a job. The newest may be one that its coordinator has not heard of, so the
/// one before it stays.
const STATES: usize = 2;

/// Hashes remembered, of all jobs.
const HASHES_KEPT: usize = 1000;

/// Stores the trainable parameters after a step and returns the artifact's name.
pub(crate) fn publish(
    artifacts: &BlockingArtifacts,
    step: usize,
    policy: &CausalLm,
) -> Result<String, Failure> {
    put(artifacts, version_name(step), policy)
}

/// Stores them once more, where they stay until the job has chosen among its versions: what is newest says
/// nothing about what is best, and a learner that comes late knows neither.
pub(crate) fn keep_candidate(
    artifacts: &BlockingArtifacts,
    step: usize,
    policy: &CausalLm,
) -> Result<String, Failure> {
    put(artifacts, format!("candidates/policy-{step:08}.safetensors"), policy)
}

/// Stores the trainable parameters of `policy`.
pub(crate) fn put(
    artifacts: &BlockingArtifacts,
    name: String,
    policy: &CausalLm,
) -> Result<String, Failure> {
    let mut parameters = TrainerState::default();
    parameters.put_parameters("policy", policy);
    artifacts.put(&name, parameters.to_bytes())?;
    Ok(name)
}

/// Hashes of versions by where they lie. A version never changes, so each is read once.
#[derive(Clone, Default)]
pub(crate) struct Hashes {
    known: Arc<Mutex<BTreeMap<String, ContentHash>>>,
}

impl Hashes {
    /// SHA-256 of the version's bytes.
    pub(crate) fn of(
        &self,
        artifacts: &BlockingArtifacts,
        name: &str,
    ) -> Result<ContentHash, Failure> {
        let place = artifacts.location(name)?;
        if let Some(hash) = self.lock().get(&place) {
            return Ok(hash.clone());
        }
        // Without the lock: a version is large.
        let hash = artifacts.hash(name)?;
        let mut known = self.lock();
        if known.len() >= HASHES_KEPT {
            known.clear();
        }
        known.insert(place, hash.clone());
        Ok(hash)
    }

    /// A map is whole between calls.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ContentHash>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes all but the newest states and the newest `versions` versions. What cannot be deleted now
/// is with the next step; the step itself is done.
pub(crate) fn forget_old(artifacts: &BlockingArtifacts, versions: usize) {
    for (folder, kept) in [("versions", versions), ("state", STATES)] {
        let deleted = artifacts.list(folder).and_then(|names| {
            let prefix = format!("{folder}/policy-");
            let ours: Vec<_> = names.iter().filter(|name| name.starts_with(&prefix)).collect();
            let old = &ours[..ours.len().saturating_sub(kept)];
            old.iter().try_for_each(|name| artifacts.delete(name))
        });
        if let Err(error) = deleted {
            tracing::warn!(%error, folder, "old artifacts of a policy were not deleted");
        }
    }
}
