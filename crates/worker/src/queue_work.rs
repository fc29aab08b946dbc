//! The queue's side of a worker's process: waits for Redis however long it is away, serves the queue, and
//! shows whether it answers.

use crate::serve::shut_down_for;
use crate::{Bench, Executor};
use opentelemetry::KeyValue;
use rlaif_artifacts::ArtifactStore;
use rlaif_cluster::QueueConfig;
use rlaif_job::WorkerKind;
use rlaif_queue::{Error, Options, Queue};
use rlaif_service::metrics::{self, definitions, names};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// How long a shutdown may take to hand over what is in hand. Where Redis is away that long, its leases expire.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What keeps a worker from the work of its queue.
struct Troubles {
    /// The queue does not answer, or takes nothing that is written.
    away: AtomicBool,
    /// The artifact store was away when it was asked last.
    store: AtomicBool,
}

/// A worker at its queue.
pub(crate) struct QueueWork {
    pub(crate) config: QueueConfig,
    pub(crate) kind: WorkerKind,
    pub(crate) worker: String,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) store: ArtifactStore,
}

impl QueueWork {
    /// Works until `shutdown`; then the item in hand is given back.
    ///
    /// # Errors
    /// When the queue cannot be used as configured. That Redis is away, at the start or later, is
    /// none: it is waited for.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        // Away until it has answered.
        let troubles = Arc::new(Troubles { away: true.into(), store: false.into() });
        self.show_troubles(&troubles);
        let impatient = Options { patience: WATCH_PATIENCE, ..self.config.options.clone() };
        let Some(watched) = self.reach(impatient, &shutdown).await? else { return Ok(()) };
        let Some(queue) = self.reach(self.config.options.clone(), &shutdown).await? else {
            return Ok(());
        };
        self.show_takeovers(&queue);
        let (executor, store) = (self.executor.clone(), self.store.clone());
        let bench = Bench::new(self.kind, &self.worker, executor, store);
        tokio::join!(
            self.watch(&watched, &bench, &troubles, &shutdown),
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
                Err(error) if error.is_passing() => {
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

    /// Callers of this worker need no queue, so it is ready without one; what is away is told here.
    fn show_troubles(&self, troubles: &Arc<Troubles>) {
        let (queue, troubles) = (self.kind.queue(), troubles.clone());
        metrics::observed(&definitions::QUEUE_TROUBLE, move |trouble| {
            for (reason, is_there) in [("away", &troubles.away), ("store_away", &troubles.store)] {
                let attributes = [
                    KeyValue::new(names::MESSAGING_DESTINATION_NAME, queue),
                    KeyValue::new(names::REASON, reason),
                ];
                trouble.observe(f64::from(u8::from(is_there.load(Ordering::Relaxed))), &attributes);
            }
        });
    }

    /// Looks whether the queue answers and takes what is written, and whether the artifact store was there for work.
    async fn watch(
        &self,
        queue: &Queue,
        bench: &Bench,
        troubles: &Troubles,
        shutdown: &CancellationToken,
    ) {
        warn_of_promises(queue).await;
        while !shutdown.is_cancelled() {
            let answer = queue.depth().await;
            troubles.store.store(bench.is_store_away(), Ordering::Relaxed);
            let was_away = troubles.away.swap(answer.is_err(), Ordering::Relaxed);
            match answer {
                Ok(_) if was_away => tracing::info!("the queue answers"),
                Err(error) if !was_away => tracing::warn!("the queue is away: {error}"),
                _ => {}
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Serves the queue again and again: what fails at Redis is tried until it does not.
    async fn serve(&self, queue: &Queue, bench: &Bench, shutdown: &CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let served = tokio::select! {
                served = bench.serve(queue, shutdown.clone()) => served,
                () = shut_down_for(shutdown, HAND_OVER) => {
                    tracing::warn!("what is in hand is not handed over: the queue does not answer");
                    return;
                }
            };
            let Err(error) = served else { return };
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
