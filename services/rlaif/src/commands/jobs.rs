//! `rlaif jobs`: what a coordinator works on.

use super::progress::detail;
use super::remote::{Remote, Server, progress, state};
use anyhow::Result;
use rlaif_proto::coordinator::v1::{Job, ListJobsRequest};

/// List a coordinator's jobs, newest first.
#[derive(clap::Args)]
pub struct Args {
    /// At most this many.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Result<()> {
    let jobs = list(&args.server.connect()?, args.limit)?;
    println!("{:<40} {:<10} {:<24} stage", "job", "state", "submitted");
    for job in jobs {
        let created = job.created_at.map(|at| at.to_string()).unwrap_or_default();
        println!("{:<40} {:<10} {created:<24} {}", job.job_id, state(&job), stage(&job));
    }
    Ok(())
}

/// Up to `limit` jobs, newest first.
pub fn list(remote: &Remote, limit: usize) -> Result<Vec<Job>> {
    let (mut jobs, mut page_token) = (Vec::new(), String::new());
    loop {
        let page_size = u32::try_from(limit - jobs.len()).unwrap_or(u32::MAX);
        let message = ListJobsRequest { page_size, page_token };
        let page = remote
            .ask(message, |mut client, request| async move { client.list_jobs(request).await })?;
        jobs.extend(page.jobs);
        if page.next_page_token.is_empty() || jobs.len() >= limit {
            jobs.truncate(limit);
            return Ok(jobs);
        }
        page_token = page.next_page_token;
    }
}

/// The first stage that is not done.
fn stage(job: &Job) -> String {
    let open = job.stages.iter().find(|stage| stage.done < stage.total);
    let Some(open) = open.cloned().map(progress) else { return String::new() };
    format!("{} {}/{} {}", open.stage, open.done, open.total, detail(&open))
}
