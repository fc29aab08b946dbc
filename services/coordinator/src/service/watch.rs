//! The stream of what happens to one job.

use super::wire;
use crate::{Coordinator, Error, JobRecord, JobState, What};
use rlaif_proto::coordinator::v1::{Finished, JobEvent, WatchJobResponse, job_event::Event};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Events on their way to a slow client; the rest waits in the coordinator's buffer, and a client
/// that is too slow for that too is told anew how the job is.
pub const BUFFER: usize = 64;

/// Where events go.
pub type Sender = mpsc::Sender<Result<WatchJobResponse, Status>>;

/// Why a stream stops before the job has ended.
enum Stopped {
    /// The client left.
    Left,
    /// There is no such job.
    Error(Error),
}

/// Tells `to` what happens to the job until it has ended, the client leaves, or `shutdown`, which the
/// client reads as UNAVAILABLE: it asks again, and the next coordinator answers.
pub async fn watch(
    coordinator: Coordinator,
    id: String,
    seen: u64,
    to: Sender,
    shutdown: CancellationToken,
) {
    let status = tokio::select! {
        told = tell(&coordinator, &id, seen, &to) => match told {
            Ok(()) | Err(Stopped::Left) => return,
            Err(Stopped::Error(error)) => error.into(),
        },
        () = shutdown.cancelled() => Status::unavailable("the coordinator is shutting down"),
        () = to.closed() => return,
    };
    // Whoever left meanwhile needs no status.
    let _ = to.send(Err(status)).await;
}

async fn tell(
    coordinator: &Coordinator,
    id: &str,
    mut seen: u64,
    to: &Sender,
) -> Result<(), Stopped> {
    // Before the job is looked at, so that nothing falls in between.
    let mut events = coordinator.events();
    loop {
        let job = coordinator.job(id).map_err(Stopped::Error)?;
        if job.sequence > seen {
            for event in wire::as_it_is(&job) {
                send(to, event).await?;
            }
            seen = job.sequence;
        }
        if has_ended(&job.state) {
            return finish(to, job).await;
        }
        loop {
            let event = match events.recv().await {
                Ok(event) if event.job == id && event.sequence > seen => event,
                Ok(_) => continue,
                // Too slow: told anew how the job is.
                Err(RecvError::Lagged(_) | RecvError::Closed) => break,
            };
            seen = event.sequence;
            let ended = matches!(&event.what, What::State { now, .. } if has_ended(now));
            send(to, event.into()).await?;
            if ended {
                break;
            }
        }
    }
}

async fn send(to: &Sender, event: JobEvent) -> Result<(), Stopped> {
    to.send(Ok(WatchJobResponse { event: Some(event) })).await.map_err(|_| Stopped::Left)
}

async fn finish(to: &Sender, job: JobRecord) -> Result<(), Stopped> {
    let (sequence, at) = (job.sequence, job.updated_unix_ms);
    let finished = Event::Finished(Finished { job: Some(job.into()) });
    send(to, wire::event(sequence, at, finished)).await
}

fn has_ended(state: &JobState) -> bool {
    matches!(state, JobState::Succeeded | JobState::Failed { .. } | JobState::Cancelled)
}
