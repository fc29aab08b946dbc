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
    /// There is no such job, or none any more.
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
            // The next look says that it was deleted.
            let Some(event) = wire::happened(event) else { break };
            send(to, event).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::EVENT_BUFFER;
    use crate::{Limits, Places, Queues};
    use rlaif_artifacts::ArtifactStore;
    use rlaif_job::StageProgress;
    use rlaif_queue::{Options, Queue};

    /// A coordinator with one job, of which nothing is done.
    async fn coordinator(folder: &tempfile::TempDir) -> Coordinator {
        let queues = Queues::new(|_| Queue::in_memory(Options::default())).unwrap();
        let store = ArtifactStore::open(&folder.path().to_string_lossy(), folder.path()).unwrap();
        let places = Places::many_jobs(folder.path());
        let opened = Coordinator::open(places, queues, store, Limits::default()).await.unwrap();
        let stages = vec![StageProgress::new("label", 0, usize::MAX)];
        let record = JobRecord { stages, ..JobRecord::accepted("job", "job", 1) };
        opened.shared.journal.accept("key", &record).unwrap();
        opened.shared.board.add(record);
        opened
    }

    fn done(event: &JobEvent) -> Option<u64> {
        match event.event.as_ref()? {
            Event::StageProgress(stage) => Some(stage.done),
            _ => None,
        }
    }

    /// What somebody is told who has seen the job's events up to `seen`.
    fn watched(
        coordinator: &Coordinator,
        seen: u64,
    ) -> mpsc::Receiver<Result<WatchJobResponse, Status>> {
        let (sender, events) = mpsc::channel(BUFFER);
        let stop = CancellationToken::new();
        tokio::spawn(watch(coordinator.clone(), "job".into(), seen, sender, stop));
        events
    }

    async fn next(events: &mut mpsc::Receiver<Result<WatchJobResponse, Status>>) -> JobEvent {
        events.recv().await.unwrap().unwrap().event.unwrap()
    }

    fn advance(coordinator: &Coordinator, done: usize) {
        let stage = StageProgress::new("label", done, usize::MAX);
        coordinator.shared.board.happened("job", What::Progress(stage));
    }

    #[tokio::test]
    async fn who_has_seen_all_is_told_only_what_is_new() {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = coordinator(&folder).await;
        advance(&coordinator, 1);
        let seen = coordinator.job("job").unwrap().sequence;
        let mut events = watched(&coordinator, seen);
        tokio::task::yield_now().await;
        advance(&coordinator, 2);
        let event = next(&mut events).await;
        assert_eq!((done(&event), event.sequence), (Some(2), seen + 1));
    }

    #[tokio::test]
    async fn who_reads_too_slowly_loses_events_and_is_told_how_things_are() {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = coordinator(&folder).await;
        let mut events = watched(&coordinator, 0);
        let begins = [next(&mut events).await, next(&mut events).await];
        assert_eq!(begins.each_ref().map(done), [None, Some(0)]);

        // This test's runtime has one thread: nobody reads meanwhile.
        let happened = 2 * EVENT_BUFFER;
        (1..=happened).for_each(|done| advance(&coordinator, done));
        coordinator.shared.board.set_state("job", JobState::Succeeded).unwrap();
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            told.push(event.unwrap().event.unwrap());
        }
        assert!(told.is_sorted_by_key(|event| event.sequence));
        assert!(told.len() < 8, "what was lost is not sent: {}", told.len());
        let how_it_is = |event: &&JobEvent| matches!(&event.event, Some(Event::StateChanged(state)) if state.from == 0);
        assert_eq!(told.iter().filter(how_it_is).count(), 1, "{told:?}");
        assert_eq!(told.iter().filter_map(done).next_back(), Some(happened as u64));
        assert!(matches!(told.last().unwrap().event, Some(Event::Finished(_))));
    }

    /// As when a job is cancelled and deleted while its watcher is slow.
    #[tokio::test]
    async fn who_watches_a_job_that_is_deleted_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let coordinator = coordinator(&folder).await;
        let mut events = watched(&coordinator, 0);
        let _state = next(&mut events).await;
        let _stage = next(&mut events).await;
        // This test's runtime has one thread: the watcher sees both at once.
        coordinator.shared.board.set_state("job", JobState::Cancelled).unwrap();
        coordinator.shared.board.remove("job").unwrap();
        let mut last = None;
        while let Some(told) = events.recv().await {
            last = Some(told);
        }
        let status = last.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert!(status.message().contains("job job was deleted"), "{status}");
    }
}
