//! `rlaif quickstart`: a real model improves itself, on a laptop, in one command.

use super::download::DownloadBar;
use super::machine::MachineArgs;
use super::run::execute;
use anyhow::{Context, Result};
use rlaif_clerk::Account;
use rlaif_hub::Store;
use rlaif_job::{Job, RunFolder};
use std::path::PathBuf;

const JOB: &str = include_str!("../../quickstart/job.toml");
const PROMPTS: &str = include_str!("../../quickstart/prompts.jsonl");
const HELDOUT: &str = include_str!("../../quickstart/heldout.jsonl");

/// Align a small real model with its own feedback, and see the proof. No GPU, no server.
///
/// SmolLM2-135M-Instruct rates its own sentences and is trained on the ratings (d-RLAIF, strict
/// self-improvement); the result is judged on subjects it has not seen, under two templates.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif quickstart --seed 2")]
pub struct Args {
    /// Where job, data and run are written.
    #[arg(long, default_value = "runs/quickstart")]
    out: PathBuf,
    /// Seed of everything drawn; each seed has its own run folder.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on with a run that was stopped.
    #[arg(long)]
    resume: bool,
    /// cpu, or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    machine: MachineArgs,
}

pub fn run(args: Args) -> Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("creating {}", args.out.display()))?;
    for (name, text) in [("job.toml", JOB), ("prompts.jsonl", PROMPTS), ("heldout.jsonl", HELDOUT)]
    {
        let path = args.out.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Store::from_env().pull("smollm2-135m-instruct", &mut DownloadBar::new())?;
    let mut job = Job::load(&args.out.join("job.toml"))?;
    job.seed = args.seed;
    job.device = args.device;
    let folder = RunFolder::new(args.out.join(format!("seed{}", args.seed)));
    execute(&job, &folder, args.resume, &args.machine, Account::default())
}
