//! `rlaif dead-letters`: items that were given up, and another try for them.

use super::jobs;
use super::remote::{Remote, Server};
use anyhow::{Context, Result};
use rlaif_proto::coordinator::v1::{DeadLetter, ListDeadLettersRequest, RequeueDeadLettersRequest};

/// Newest jobs that are looked through where none is named.
const JOBS: usize = 1000;

/// List items that failed too often, of one job or of all; have them tried again.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  rlaif dead-letters JOB\n  rlaif dead-letters JOB requeue --all"
)]
pub struct Args {
    /// The job's id.
    job: Option<String>,
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Have items tried again, once what made them fail is mended; a job that failed goes on when it
    /// has none left.
    Requeue(Requeue),
}

#[derive(clap::Args)]
struct Requeue {
    /// Which, by their first column.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    items: Vec<String>,
    /// All of the job's.
    #[arg(long)]
    all: bool,
}

pub fn run(args: Args) -> Result<()> {
    let remote = args.server.connect()?;
    match (args.action, args.job) {
        (None, Some(job)) => show(&remote, &job),
        (None, None) => {
            let jobs = jobs::list(&remote, JOBS)?;
            jobs.iter().try_for_each(|job| show(&remote, &job.job_id))
        }
        (Some(Action::Requeue(which)), job) => {
            let job = job.context("name the job: rlaif dead-letters JOB requeue")?;
            requeue(&remote, job, which)
        }
    }
}

fn show(remote: &Remote, job: &str) -> Result<()> {
    let mut page_token = String::new();
    loop {
        let message = ListDeadLettersRequest { job_id: job.to_owned(), page_size: 0, page_token };
        let page = remote.ask(message, |mut client, request| async move {
            client.list_dead_letters(request).await
        })?;
        for DeadLetter { dead_letter_id, attempts, failed_at, error, .. } in page.dead_letters {
            let at = failed_at.map(|at| at.to_string()).unwrap_or_default();
            println!("{dead_letter_id:<28} {job:<40} {attempts:>2} starts {at:<24} {error}");
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        page_token = page.next_page_token;
    }
}

fn requeue(remote: &Remote, job_id: String, Requeue { items, all }: Requeue) -> Result<()> {
    let message = RequeueDeadLettersRequest { job_id, dead_letter_ids: items, all };
    let answer = remote.ask(message, |mut client, request| async move {
        client.requeue_dead_letters(request).await
    })?;
    println!("{} items are tried again", answer.requeued_count);
    Ok(())
}
