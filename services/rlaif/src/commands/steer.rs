//! `rlaif pause`, `resume`, `cancel` and `delete`.

use super::remote::{Server, expect, state};
use anyhow::Result;
use indicatif::HumanBytes;
use rlaif_proto::coordinator::v1::{
    CancelJobRequest, DeleteJobRequest, Job, PauseJobRequest, ResumeJobRequest,
};
use rlaif_types::Money;

/// Which job.
#[derive(clap::Args)]
pub struct Args {
    /// The job's id.
    job: String,
    #[command(flatten)]
    server: Server,
}

pub fn pause(args: Args) -> Result<()> {
    let message = PauseJobRequest { job_id: args.job };
    let answer = args
        .server
        .connect()?
        .ask(message, |mut client, request| async move { client.pause_job(request).await })?;
    say(answer.job)
}

/// Which job, and what it may spend.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    rlaif resume helpful-1a2b --max-cost 20    # of a job that has spent its labeler.max_cost")]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Args,
    /// Money that its labeler may cost from now on, at the job's labeler.price; what it has cost counts.
    #[arg(long, value_name = "AMOUNT", value_parser = Money::parse)]
    max_cost: Option<Money>,
    /// Tokens that its labeler may read and write from now on; what it has taken counts.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
}

pub fn resume(args: ResumeArgs) -> Result<()> {
    let ResumeArgs { which, max_cost, max_tokens } = args;
    let max_cost = max_cost.map(|amount| amount.to_string()).unwrap_or_default();
    let message = ResumeJobRequest { job_id: which.job, max_cost, max_tokens };
    let answer = which
        .server
        .connect()?
        .ask(message, |mut client, request| async move { client.resume_job(request).await })?;
    say(answer.job)
}

pub fn cancel(args: Args) -> Result<()> {
    let message = CancelJobRequest { job_id: args.job };
    let answer = args
        .server
        .connect()?
        .ask(message, |mut client, request| async move { client.cancel_job(request).await })?;
    say(answer.job)
}

pub fn delete(args: Args) -> Result<()> {
    let message = DeleteJobRequest { job_id: args.job.clone() };
    let gone = args
        .server
        .connect()?
        .ask(message, |mut client, request| async move { client.delete_job(request).await })?;
    println!(
        "{} deleted: {} results, {} dead letters, {} files ({})",
        args.job,
        gone.result_count,
        gone.dead_letter_count,
        gone.file_count,
        HumanBytes(gone.freed_bytes)
    );
    if !gone.swept {
        eprintln!(
            "the artifact store or the disk failed; the rest of its files goes once it is back"
        );
    }
    Ok(())
}

fn say(job: Option<Job>) -> Result<()> {
    let job = expect(job)?;
    println!("{} {}", job.job_id, state(&job));
    Ok(())
}
