//! What changes, as server-sent events. They say which jobs changed and how they are now; whoever looks
//! at records fetches those that follow the last they have. So an event that is lost costs nothing: a
//! stream that goes on after another (`Last-Event-ID`) says whether anything happened in between, and
//! also after a restart, since a coordinator's numbers are above those of the one before it.

use super::Site;
use super::answer::Refusal;
use super::view::Job;
use crate::{Coordinator, Error, JobEvent, What};
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use http::HeaderMap;
use rlaif_proto::coordinator::v1 as wire;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Events on their way to a slow browser.
const BUFFER: usize = 16;
/// How long changes are collected: a page that is told more often is only restless.
const TOGETHER: Duration = Duration::from_millis(250);
/// How long nothing may be said, so that both sides notice when the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

type Sender = mpsc::Sender<Result<Event, Infallible>>;

/// What happened to a job since it was last told of.
#[derive(Default)]
struct Changes {
    sequence: u64,
    by_job: BTreeMap<String, Change>,
}

#[derive(Default)]
struct Change {
    /// There are new records of metrics.
    measured: bool,
}

impl Changes {
    fn add(&mut self, event: JobEvent) {
        self.sequence = self.sequence.max(event.sequence);
        let change = self.by_job.entry(event.job).or_default();
        change.measured |= matches!(event.what, What::Metrics(_));
    }
}

/// `GET /api/events`.
pub async fn events(
    State(site): State<Site>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Refusal> {
    let coordinator = site.handler.coordinator()?.clone();
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (sender, receiver) = mpsc::channel(BUFFER);
    tokio::spawn(watch(coordinator, seen, sender, site.handler.shutdown.clone()));
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive))
}

/// Tells `to` what changes until the browser leaves or `shutdown`; then it comes again, and finds the
/// next coordinator.
async fn watch(
    coordinator: Coordinator,
    seen: Option<u64>,
    to: Sender,
    shutdown: CancellationToken,
) {
    tokio::select! {
        _ = tell(&coordinator, seen, &to) => {}
        () = shutdown.cancelled() => {}
        () = to.closed() => {}
    }
}

/// None once the browser has left.
async fn tell(coordinator: &Coordinator, mut seen: Option<u64>, to: &Sender) -> Option<()> {
    // Before anything is looked at, so that nothing falls in between.
    let mut told = coordinator.events();
    loop {
        let now = coordinator.sequence();
        let hello = json!({ "changed": seen.is_none_or(|seen| seen < now) });
        send(to, "hello", now, &hello).await?;
        seen = Some(0);
        while let Some(changes) = collect(&mut told).await {
            for (id, change) in changes.by_job {
                let (name, event) = match coordinator.job(&id) {
                    Ok(job) => {
                        let job = Job::from(wire::Job::from(job));
                        ("job", json!({ "job": job, "measured": change.measured }))
                    }
                    Err(Error::Deleted(id)) => ("deleted", json!({ "job": id })),
                    Err(_) => continue,
                };
                send(to, name, changes.sequence, &event).await?;
            }
        }
        // It was too slow, and is greeted anew.
    }
}

/// What changes next, and shortly after that; none where some of it was lost.
async fn collect(told: &mut Receiver<JobEvent>) -> Option<Changes> {
    let mut changes = Changes::default();
    match told.recv().await {
        Ok(event) => changes.add(event),
        Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
    }
    tokio::time::sleep(TOGETHER).await;
    loop {
        match told.try_recv() {
            Ok(event) => changes.add(event),
            Err(TryRecvError::Empty) => return Some(changes),
            Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return None,
        }
    }
}

async fn send(to: &Sender, name: &str, id: u64, data: &serde_json::Value) -> Option<()> {
    let event = Event::default().event(name).id(id.to_string()).data(data.to_string());
    to.send(Ok(event)).await.ok()
}
