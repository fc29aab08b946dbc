//! The adapter that a run trained, as PEFT keeps them. Neither the base's weights nor the network are needed.

use anyhow::{Context, Result, bail};
use rlaif_job::{Job, Manifest, RunFolder};
use rlaif_models::formats::hf::NamedTensor;
use rlaif_models::formats::peft::{self, Base};
use rlaif_rl::TrainerState;
use std::fs;
use std::path::Path;

/// Writes the adapter of the policy that the run left into `folder`: of the average of its weights where one was
/// kept, of the version that was chosen where there was a choice.
pub fn write(run: &Path, folder: &Path, base: Option<String>) -> Result<()> {
    let run = RunFolder::new(run);
    let job = Job::parse(&run.path("job.toml"))?;
    let Some(lora) = &job.lora else {
        let whole = run.path(Manifest::POLICY);
        bail!("the job has no [lora]: all weights were trained, they are in {}", whole.display());
    };
    let path = run.path(Manifest::ADAPTER);
    let bytes = fs::read(&path).with_context(|| {
        format!("{} has no trained policy: the run is not finished", run.root().display())
    })?;
    let state = TrainerState::from_bytes(bytes).with_context(|| path.display().to_string())?;
    let factors = state.tensors_under("policy.");
    let factors: Vec<NamedTensor> =
        factors.map(|(name, shape, values)| (name.to_owned(), shape.to_vec(), values)).collect();
    let base = base.map_or_else(|| start_of(&job, &run), |name| Ok(base_named(&name)))?;
    peft::save(folder, &base, lora, factors)?;
    println!("{}: the adapter of the trained policy, of {}", folder.display(), base.name);
    Ok(())
}

/// What the policy's training began with.
fn start_of(job: &Job, run: &RunFolder) -> Result<Base> {
    if job.sft.is_none() {
        return Ok(base_named(&job.policy.model));
    }
    let path = run.path(Manifest::SFT);
    let path = fs::canonicalize(&path).with_context(|| path.display().to_string())?;
    Ok(Base { name: path.to_string_lossy().into_owned(), revision: None })
}

/// A model as PEFT names it: the hub's without our prefix, a path that is good from everywhere.
fn base_named(name: &str) -> Base {
    let plain = |name: String| Base { name, revision: None };
    if let Some(of_hub) = name.strip_prefix("hf:") {
        return match of_hub.split_once('@') {
            Some((name, revision)) => {
                Base { name: name.to_owned(), revision: Some(revision.to_owned()) }
            }
            None => plain(of_hub.to_owned()),
        };
    }
    let path = fs::canonicalize(name).map(|path| path.to_string_lossy().into_owned());
    plain(path.unwrap_or_else(|_| name.to_owned()))
}
