//! `rlaif pause`, `resume` and `cancel`.

use super::remote::{Server, expect, state};
use anyhow::Result;
use rlaif_proto::coordinator::v1::{CancelJobRequest, Job, PauseJobRequest, ResumeJobRequest};

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

pub fn resume(args: Args) -> Result<()> {
    let message = ResumeJobRequest { job_id: args.job };
    let answer = args
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

fn say(job: Option<Job>) -> Result<()> {
    let job = expect(job)?;
    println!("{} {}", job.job_id, state(&job));
    Ok(())
}
