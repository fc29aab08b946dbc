//! `rlaif submit`: hands a job and its data to a coordinator.

use super::remote::Server;
use super::run::warn_of_the_judge;
use super::watch;
use anyhow::Result;
use rlaif_job::{Job, Submission};
use rlaif_proto::coordinator::v1::{Attachment, SubmitJobRequest};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Submit a job to a coordinator; prints its id.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif submit job.toml --watch\n\n\
    The same job submitted twice is the same job; --new starts another.")]
pub struct Args {
    /// The job file.
    job: PathBuf,
    /// Stay and show how it goes.
    #[arg(long)]
    watch: bool,
    /// Start a new job even if this one was submitted before.
    #[arg(long)]
    new: bool,
    /// Override the job's seed.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Result<()> {
    let mut job = Job::load(&args.job)?;
    job.seed = args.seed.unwrap_or(job.seed);
    let submission = Submission::read(job)?;
    warn_of_the_judge(&submission.job);
    let remote = args.server.connect()?;
    let message = SubmitJobRequest {
        idempotency_key: key(&submission, args.new),
        job_toml: submission.job.to_toml(),
        attachments: submission.files.into_iter().map(|(n, f)| Attachment::new(n, f)).collect(),
    };
    let answer = remote
        .ask(message, |mut client, request| async move { client.submit_job(request).await })?;
    if answer.already_submitted {
        eprintln!("submitted before; --new starts another");
    }
    println!("{}", answer.job_id);
    if args.watch { watch::follow(&remote, &answer.job_id) } else { Ok(()) }
}

/// The submission's hash, so that the same job is one job.
fn key(submission: &Submission, new: bool) -> String {
    let hash = submission.hash();
    if !new {
        return hash.to_string();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{hash}-{}-{}", now.as_nanos(), std::process::id())
}
