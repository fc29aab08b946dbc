//! `rlaif watch`: a job's progress as it happens.

use super::progress::Bars;
use super::remote::{Remote, Server, expect, progress, state};
use anyhow::{Result, bail};
use rlaif_proto::coordinator::v1::job_event::Event;
use rlaif_proto::coordinator::v1::{Job, JobState, WatchJobRequest, WatchJobResponse};
use tonic::{Code, Request, Streaming};

/// Show a job's progress until it has ended; fails where the job does.
#[derive(clap::Args)]
pub struct Args {
    /// The job's id.
    job: String,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Result<()> {
    follow(&args.server.connect()?, &args.job)
}

/// Shows a job's progress until it has ended. A stream that is lost is taken up again.
pub fn follow(remote: &Remote, id: &str) -> Result<()> {
    let mut bars = Bars::new();
    let mut seen = 0;
    loop {
        let request = WatchJobRequest { job_id: id.to_owned(), after_sequence: seen };
        let mut events = remote.call(|mut client, _| {
            // Without a deadline: jobs take as long as they take.
            let request = Request::new(request.clone());
            async move { client.watch_job(request).await }
        })?;
        if let Some(job) = read(remote, &mut events, &mut seen, &mut bars)? {
            return ended(&job);
        }
    }
}

/// The job once it has ended; none where the stream was lost before.
fn read(
    remote: &Remote,
    events: &mut Streaming<WatchJobResponse>,
    seen: &mut u64,
    bars: &mut Bars,
) -> Result<Option<Job>> {
    loop {
        let event = match remote.wait(events.message()) {
            Ok(Some(answer)) => answer.event.unwrap_or_default(),
            Ok(None) => return Ok(None),
            // How tonic reports a connection that broke, and one that the server ended.
            Err(status) if matches!(status.code(), Code::Unavailable | Code::Unknown) => {
                return Ok(None);
            }
            Err(status) => return Err(remote.explain(status)),
        };
        *seen = event.sequence;
        match event.event {
            Some(Event::StageProgress(stage)) => bars.show(&progress(stage)),
            Some(Event::Finished(finished)) => return expect(finished.job).map(Some),
            // Kinds that a newer server knows are skipped.
            _ => {}
        }
    }
}

fn ended(job: &Job) -> Result<()> {
    match job.state() {
        JobState::Succeeded => {
            eprintln!("job {} has succeeded; rlaif report {}", job.job_id, job.job_id);
            Ok(())
        }
        JobState::Failed => bail!("job {} has failed: {}", job.job_id, job.error),
        _ => bail!("job {} is {}", job.job_id, state(job)),
    }
}
