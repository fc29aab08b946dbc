//! `rlaif run`: a whole job in one process.

use super::download::DownloadBar;
use super::machine::MachineArgs;
use super::progress::Bars;
use crate::evaluation::{Named, Training};
use crate::labeling::{BudgetArgs, estimate_job, job_prices};
use crate::one_process::{self, Finished};
use anyhow::{Context, Result};
use rlaif_clerk::{Account, Clerk};
use rlaif_data::{Reader, prompt_of};
use rlaif_hub::Store;
use rlaif_job::{Job, RunFolder};
use std::path::PathBuf;

/// Run a job: sample pairs, label, train a reward model, train the policy, evaluate, report.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif run job.toml --out runs/first\n  \
    rlaif run job.toml --out runs/first --resume    # after a kill\n  \
    rlaif run job.toml --estimate    # does it fit into memory, and what will its labeler cost?\n  \
    rlaif run job.toml --max-cost 20    # at the prices that the job names; raise it and --resume to go on")]
pub struct Args {
    /// The job file.
    job: PathBuf,
    /// The run's folder; runs/NAME-seedN by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with the run in the folder.
    #[arg(long)]
    resume: bool,
    /// Override the job's seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Override the job's device: cpu, or cuda:N.
    #[arg(long)]
    device: Option<String>,
    /// Say how much memory the job takes at most, and what its labeler and its judge will be asked and may cost; and
    /// end.
    #[arg(long)]
    estimate: bool,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    budget: BudgetArgs,
}

pub fn run(args: Args) -> Result<()> {
    let mut job = Job::load(&args.job)?;
    job.seed = args.seed.unwrap_or(job.seed);
    job.device = args.device.unwrap_or(job.device);
    pull_models(&job)?;
    let account = args.budget.account(|| job_prices(&job))?;
    if args.estimate {
        print!("{}", estimate_job(&job, &Clerk::new(account)?)?);
        return args.machine.memory.check(&job, &args.machine.training_replicas);
    }
    let default = || PathBuf::from(format!("runs/{}-seed{}", job.name, job.seed));
    let folder = RunFolder::new(args.out.unwrap_or_else(default));
    execute(&job, &folder, args.resume, &args.machine, account)
}

/// Runs a job with progress on the terminal and its result on standard output.
pub fn execute(
    job: &Job,
    folder: &RunFolder,
    resume: bool,
    machine: &MachineArgs,
    account: Account,
) -> Result<()> {
    // The run itself does not use the network.
    pull_models(job)?;
    check_for_leaks(job)?;
    warn_of_the_judge(job);
    machine.memory.check(job, &machine.training_replicas)?;
    let mut bars = Bars::new();
    let finished =
        one_process::run(job, folder, resume, &machine.training_replicas, account, |stage| {
            bars.show(stage);
        })?;
    print(&finished);
    Ok(())
}

/// Refuses prompts to evaluate on that the job's models were trained on, where they come from runs that are here. The
/// job's own data is looked through where it is read, which also complains of what cannot be.
fn check_for_leaks(job: &Job) -> Result<()> {
    let training = Training::of_models(&Named::begun_with(job))?;
    let heldout = Reader::open(&job.data.heldout_prompts);
    match heldout.and_then(|heldout| heldout.read_all(|record| prompt_of(&record))) {
        Ok(heldout) => training.check(&heldout).context("data.heldout_prompts"),
        Err(_) => Ok(()),
    }
}

/// Says so where a job is to be judged by whom it learns from.
pub fn warn_of_the_judge(job: &Job) {
    if job.is_judged_by_its_teacher() {
        eprintln!(
            "warning: {} judges what it taught, which it is easily pleased by; evaluate.judge names another",
            job.labeler.model
        );
    }
}

fn pull_models(job: &Job) -> Result<()> {
    for model in job.models() {
        Store::from_env().resolve(model, &mut DownloadBar::new())?;
    }
    Ok(())
}

fn print(finished: &Finished) {
    println!(
        "{:<24} {:>9} {:>17} {:>17} {:>9} {:>8} {:>8}",
        "template", "win rate", "95 % interval", "length-corrected", "contests", "before", "after"
    );
    for rate in &finished.win_rates {
        let corrected = rate.length_corrected.map(|c| format!("{:.1} %", 100.0 * c.win_rate));
        println!(
            "{:<24} {:>7.1} % {:>17} {:>17} {:>9} {:>8.3} {:>8.3}",
            rate.template,
            100.0 * rate.win_rate,
            format!("{:.1} to {:.1}", 100.0 * rate.interval.low, 100.0 * rate.interval.high),
            corrected.unwrap_or_else(|| "-".into()),
            rate.contests,
            rate.start_mean,
            rate.trained_mean,
        );
    }
    println!("\nmanifest {}", finished.manifest.hash());
    println!("report   {}", finished.report.display());
}
