//! The adapter that a run trained, as PEFT keeps them. Neither the base's weights nor the network are needed.

use anyhow::{Context, Result, bail};
use rlaif_job::{Job, Manifest, RunFolder};
use rlaif_models::formats::hf::NamedTensor;
use rlaif_models::formats::peft::{self, Base};
use rlaif_rl::{AVERAGE, TrainerState};
use rlaif_worker::{state_name, version_name};
use std::fs;
use std::path::Path;

/// Writes the policy's adapter after `step`, or after the last step that is kept, into `folder`; where an average of
/// its weights is kept, that.
pub fn write(run: &Path, folder: &Path, step: Option<usize>, base: Option<String>) -> Result<()> {
    let run = RunFolder::new(run);
    let job = Job::parse(&run.path("job.toml"))?;
    let Some(lora) = &job.lora else {
        let whole = run.path(Manifest::POLICY);
        bail!("the job has no [lora]: all weights were trained, they are in {}", whole.display());
    };
    // The average is part of the training's state, which is kept of fewer steps.
    let (name, of) = match job.rl.ema_decay {
        Some(_) => (state_name as fn(usize) -> String, AVERAGE),
        None => (version_name as fn(usize) -> String, "policy"),
    };
    let kept = kept_steps(&run.path(&name(0)))?;
    let Some(step) = step.or(kept.last().copied()) else {
        bail!("{} has no policy yet: no step was made", run.root().display());
    };
    let path = run.path(&name(step));
    let bytes = fs::read(&path).with_context(|| {
        let kept: Vec<String> = kept.iter().map(usize::to_string).collect();
        format!(
            "the policy after step {step} is not kept; those after steps {} are",
            kept.join(", ")
        )
    })?;
    let state = TrainerState::from_bytes(&bytes).with_context(|| path.display().to_string())?;
    let prefix = format!("{of}.");
    let factors = state.tensors_under(&prefix);
    let factors: Vec<NamedTensor> = factors
        .map(|(name, shape, values)| (name.to_owned(), shape.to_vec(), values.to_vec()))
        .collect();
    let base = base.map_or_else(|| start_of(&job, &run), |name| Ok(base_named(&name)))?;
    peft::save(folder, &base, lora, factors)?;
    println!("{}: the adapter after step {step}, of {}", folder.display(), base.name);
    Ok(())
}

/// Steps that have a file like this one, which is step 0's, in order.
fn kept_steps(like: &Path) -> Result<Vec<usize>> {
    let folder = like.parent().unwrap_or(like);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("policy-").and_then(|n| n.strip_suffix(".safetensors"));
        steps.extend(number.and_then(|number| number.parse::<usize>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
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
