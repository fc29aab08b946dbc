//! The queue's side of a worker's process: waits for Redis however long it is away, serves the queue,
//! and keeps readiness up to date.

use crate::{Bench, Executor};
use opentelemetry::KeyValue;
use rlaif_artifacts::ArtifactStore;
use rlaif_cluster::QueueConfig;
use rlaif_job::WorkerKind;
use rlaif_queue::{Error, Options, Queue};
use rlaif_service::metrics::{self, definitions, names};
use rlaif_service::server::Health;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the watch waits for an answer before it says that Redis is away.
const WATCH_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two looks at the queue.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after the queue failed, doubled each time it fails at once again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A worker at its queue.
pub(crate) struct QueueWork {
    pub(crate) config: QueueConfig,
    pub(crate) kind: WorkerKind,
    pub(crate) worker: String,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) store: ArtifactStore,
    pub(crate) health: Health,
}

impl QueueWork {
    /// Works until `shutdown`; then the item in hand is given back.
    ///
    /// # Errors
    /// When the queue cannot be used as configured. That Redis is away, at the start or later, is
    /// none: it is waited for.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let impatient = Options { patience: WATCH_PATIENCE, ..self.config.options.clone() };
        let Some(watched) = self.reach(impatient, &shutdown).await? else { return Ok(()) };
        let Some(queue) = self.reach(self.config.options.clone(), &shutdown).await? else {
            return Ok(());
        };
        self.show_takeovers(&queue);
        let (executor, store) = (self.executor.clone(), self.store.clone());
        let bench = Bench::new(self.kind, &self.worker, executor, store);
        tokio::join!(
            self.watch(&watched, &bench, &shutdown),
            self.serve(&queue, &bench, &shutdown)
        );
        Ok(())
    }

    /// The queue, once Redis answers; none at shutdown.
    async fn reach(
        &self,
        options: Options,
        shutdown: &CancellationToken,
    ) -> Result<Option<Queue>, Error> {
        let address = self.config.address();
        loop {
            let reached = tokio::select! {
                reached = Queue::redis(self.kind.queue(), &address, options.clone()) => reached,
                () = shutdown.cancelled() => return Ok(None),
            };
            match reached {
                Ok(queue) => return Ok(Some(queue)),
                Err(error @ Error::Unavailable { .. }) => {
                    tracing::warn!("waiting for Redis at {address:?}: {error}");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How often this worker had to take over says that others die, or freeze.
    fn show_takeovers(&self, queue: &Queue) {
        let name = [KeyValue::new(names::MESSAGING_DESTINATION_NAME, self.kind.queue())];
        let queue = queue.clone();
        metrics::observed_counter(&definitions::QUEUE_TAKEOVERS, move |takeovers| {
            takeovers.observe(queue.takeovers(), &name);
        });
    }

    /// Sets readiness by what the queue answers, and whether the artifact store was there for work.
    async fn watch(&self, queue: &Queue, bench: &Bench, shutdown: &CancellationToken) {
        warn_of_promises(queue).await;
        while !shutdown.is_cancelled() {
            let answer = queue.outstanding().await;
            let well = match bench.is_store_away() {
                true => Err("the artifact store is away".to_owned()),
                false => answer.map(drop).map_err(|error| error.to_string()),
            };
            self.set_ready(well).await;
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
        self.health.set_ready(false).await;
    }

    async fn set_ready(&self, well: Result<(), String>) {
        match (well, self.health.is_ready()) {
            (Ok(()), false) => {
                tracing::info!("ready: the queue answers");
                self.health.set_ready(true).await;
            }
            (Err(why), true) => {
                tracing::warn!("not ready: {why}");
                self.health.set_ready(false).await;
            }
            _ => {}
        }
    }

    /// Serves the queue again and again: what fails at Redis is tried until it does not.
    async fn serve(&self, queue: &Queue, bench: &Bench, shutdown: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let Err(error) = bench.serve(queue, shutdown.clone()).await else { return };
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tracing::warn!("the queue failed, taking work again in {pause:?}: {error}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Says what about this Redis breaks the queue's promises.
async fn warn_of_promises(queue: &Queue) {
    match queue.probe().await {
        Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Err(error) => tracing::warn!("Redis was not looked over: {error}"),
    }
}
