//! All jobs of one coordinator, and the loops that keep them going.

use crate::active_job::{ActiveJob, read_answer};
use crate::{Error, JobEvent, JobRecord, JobState, Journal, Places, What};
use rlaif_artifacts::{ArtifactStore, Payload};
use rlaif_job::{StageProgress, Submission, TaskId, WorkItem, WorkResult, WorkerKind};
use rlaif_queue::{Item, ItemId, Outcome, Position, Queue, ResultEntry};
use rlaif_types::ContentHash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, broadcast};
use tokio_util::sync::CancellationToken;

/// Results taken in together: one fsync for all of them.
const RESULT_BATCH: usize = 64;
/// Events a slow watcher may lag behind before it misses some.
const EVENT_BUFFER: usize = 4096;
/// Jobs worked on at once.
const MAX_RUNNING: usize = 64;
/// How often everything unanswered is offered to the queue again. The queue refuses what it has;
/// what it lost, for example with its disk, is taken anew.
const OFFER_AGAIN: Duration = Duration::from_secs(30);

/// One queue for each kind of worker.
#[derive(Clone)]
pub struct Queues(BTreeMap<WorkerKind, Queue>);

impl Queues {
    /// Makes one queue for each kind.
    ///
    /// # Errors
    /// At the first that cannot be made.
    pub fn new<E>(mut make: impl FnMut(WorkerKind) -> Result<Queue, E>) -> Result<Self, E> {
        let each = WorkerKind::ALL.into_iter().map(|kind| Ok((kind, make(kind)?)));
        Ok(Self(each.collect::<Result<_, _>>()?))
    }

    /// The queue of a kind.
    pub fn of(&self, kind: WorkerKind) -> &Queue {
        &self.0[&kind]
    }
}

/// The coordinator; clones are the same one.
#[derive(Clone)]
pub struct Coordinator {
    shared: Arc<Shared>,
}

struct Shared {
    places: Places,
    journal: Journal,
    queues: Queues,
    artifacts: ArtifactStore,
    records: Mutex<BTreeMap<String, JobRecord>>,
    active: Mutex<BTreeMap<String, ActiveJob>>,
    events: broadcast::Sender<JobEvent>,
}

impl Coordinator {
    /// Opens the journal and takes up every job that was running.
    ///
    /// # Errors
    /// When the journal, a running job's folder or the artifact store cannot be used.
    pub async fn open(
        places: Places,
        queues: Queues,
        artifacts: ArtifactStore,
    ) -> Result<Self, Error> {
        let journal = Journal::open(places.journal())?;
        let records = journal.jobs()?.into_iter().map(|job| (job.id.clone(), job)).collect();
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        let shared = Shared {
            places,
            journal,
            queues,
            artifacts,
            records: Mutex::new(records),
            active: Mutex::default(),
            events,
        };
        let coordinator = Self { shared: Arc::new(shared) };
        for record in coordinator.list().await {
            if record.state == JobState::Running {
                coordinator.shared.activate(record).await?;
            }
        }
        Ok(coordinator)
    }

    /// Accepts a job; the same key gives the same job, however often it is submitted. When this
    /// returns, the job is on disk.
    ///
    /// # Errors
    /// When too many run, or writing fails.
    pub async fn submit(&self, submission: &Submission, key: &str) -> Result<String, Error> {
        let shared = &self.shared;
        let id = shared.places.job_id(&submission.job.name, &ContentHash::of(key));
        if shared.records.lock().await.contains_key(&id) {
            return Ok(id);
        }
        let running = shared.active.lock().await.len();
        if running >= MAX_RUNNING {
            return Err(Error::Busy { running });
        }
        let folder = shared.places.run_folder(&id);
        folder.prepare(&submission.job.to_toml(), true)?;
        submission.save(&folder)?;
        let now = unix_ms();
        let record = JobRecord {
            id: id.clone(),
            name: submission.job.name.clone(),
            state: JobState::Running,
            created_unix_ms: now,
            updated_unix_ms: now,
        };
        if let Some(before) = shared.journal.accept(key, &record)? {
            return Ok(before);
        }
        shared.records.lock().await.insert(id.clone(), record.clone());
        shared.activate(record).await?;
        Ok(id)
    }

    /// All jobs, by id.
    pub async fn list(&self) -> Vec<JobRecord> {
        self.shared.records.lock().await.values().cloned().collect()
    }

    /// A job's record.
    ///
    /// # Errors
    /// When there is none.
    pub async fn job(&self, id: &str) -> Result<JobRecord, Error> {
        let records = self.shared.records.lock().await;
        records.get(id).cloned().ok_or_else(|| Error::UnknownJob(id.into()))
    }

    /// How far each stage of a job is; empty unless it is being worked on.
    pub async fn progress(&self, id: &str) -> Vec<StageProgress> {
        self.shared.active.lock().await.get(id).map(ActiveJob::progress).unwrap_or_default()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.shared.events.subscribe()
    }

    /// Stops handing out a job's tasks and takes back those nobody has begun.
    ///
    /// # Errors
    /// When there is no such job, or it has ended.
    pub async fn pause(&self, id: &str) -> Result<(), Error> {
        self.shared.withdraw(id, JobState::Paused).await
    }

    /// Gives a job up.
    ///
    /// # Errors
    /// When there is no such job.
    pub async fn cancel(&self, id: &str) -> Result<(), Error> {
        self.shared.withdraw(id, JobState::Cancelled).await
    }

    /// Goes on with a job that was paused, cancelled, or has failed.
    ///
    /// # Errors
    /// When there is no such job, or its folder cannot be read.
    pub async fn resume(&self, id: &str) -> Result<(), Error> {
        let record = self.job(id).await?;
        if matches!(record.state, JobState::Running | JobState::Succeeded) {
            return Ok(());
        }
        let record = self.shared.set_state(id, JobState::Running).await?;
        self.shared.activate(record).await
    }

    /// Takes in results until `shutdown`.
    ///
    /// # Errors
    /// When the journal or a queue fails for good.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut loops = tokio::task::JoinSet::new();
        for kind in WorkerKind::ALL {
            let (shared, shutdown) = (self.shared.clone(), shutdown.clone());
            loops.spawn(async move { shared.take_in_results(kind, shutdown).await });
        }
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move { shared.offer_again(stop).await });
        let mut outcome = Ok(());
        while let Some(ended) = loops.join_next().await {
            // The first to fail ends all.
            shutdown.cancel();
            match ended {
                Ok(Err(error)) if outcome.is_ok() => outcome = Err(error),
                Ok(_) => {}
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        outcome
    }
}

impl Shared {
    async fn activate(&self, record: JobRecord) -> Result<(), Error> {
        let id = record.id.clone();
        let artifacts = self.artifacts.job(&id)?;
        let mut job = ActiveJob::open(record, &self.places, artifacts, &self.journal).await?;
        if job.finish_if_done().await? {
            self.set_state(&id, JobState::Succeeded).await?;
            return Ok(());
        }
        for stage in job.progress() {
            self.tell(&id, What::Progress(stage));
        }
        self.dispatch(&mut job).await?;
        self.active.lock().await.insert(id, job);
        Ok(())
    }

    /// Hands out whatever can be worked on.
    async fn dispatch(&self, job: &mut ActiveJob) -> Result<(), Error> {
        let mut by_kind: BTreeMap<WorkerKind, Vec<Item>> = BTreeMap::new();
        for item in job.ready() {
            let kind = item.work.worker();
            by_kind.entry(kind).or_default().push(self.queue_item(item).await?);
        }
        for (kind, items) in by_kind {
            match self.queues.of(kind).enqueue(items).await {
                Ok(_) => {}
                // What did not fit is offered again later.
                Err(rlaif_queue::Error::Full { .. }) => {
                    tracing::warn!(queue = kind.queue(), "the queue is full; offering again later");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn queue_item(&self, item: WorkItem) -> Result<Item, Error> {
        let id = format!("{}/{}", item.job, item.task);
        let artifacts = self.artifacts.job(&item.job)?;
        let bytes = serde_json::to_vec(&item).expect("work items are plain data");
        Ok(Item::new(id, Payload::of(&artifacts, bytes).await?.to_wire()))
    }

    async fn take_in_results(
        &self,
        kind: WorkerKind,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let queue = self.queues.of(kind);
        let mut after = Position::START;
        loop {
            let entries = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                entries = queue.results(after, RESULT_BATCH, Duration::from_secs(1)) => entries?,
            };
            let Some(last) = entries.last() else { continue };
            let position = last.position;
            self.take_in(entries).await?;
            queue.acknowledge(position).await?;
            after = position;
        }
    }

    /// Records results, then lets them take effect.
    async fn take_in(&self, entries: Vec<ResultEntry>) -> Result<(), Error> {
        let mut answered = Vec::new();
        for ResultEntry { item, outcome, .. } in entries {
            let Some((job, task)) = split(&item) else {
                tracing::error!(%item, "a result of an item this coordinator did not make");
                continue;
            };
            match outcome {
                Outcome::Done { payload, .. } => {
                    let artifacts = self.artifacts.job(&job)?;
                    let answer = Payload::from_wire(&payload)?.message(&artifacts).await?;
                    answered.push((job, task, answer.to_vec()));
                }
                Outcome::Dead(death) => {
                    let error = format!(
                        "{}: given up after {} starts: {}",
                        task,
                        death.attempts.len(),
                        death.error
                    );
                    self.fail(&job, error).await?;
                }
                Outcome::Progress(payload) => {
                    if let Ok(progress) = serde_json::from_slice::<StageProgress>(&payload) {
                        self.tell(&job, What::Progress(progress));
                    }
                }
            }
        }
        let mut answers = Vec::new();
        for (job, task, bytes) in &answered {
            answers.push((job.clone(), *task, read_answer(job, *task, bytes)?));
        }
        // What cannot be done is not a result: once the job is mended it is tried again.
        let kept: Vec<_> = answered
            .into_iter()
            .zip(&answers)
            .filter(|(_, (.., answer))| !matches!(answer.result, WorkResult::Impossible(_)))
            .map(|(recorded, _)| recorded)
            .collect();
        self.journal.record(&kept)?;
        for (job, task, answer) in answers {
            self.apply(&job, task, answer).await?;
        }
        Ok(())
    }

    async fn apply(&self, id: &str, task: TaskId, answer: rlaif_job::Answer) -> Result<(), Error> {
        let mut active = self.active.lock().await;
        let Some(job) = active.get_mut(id) else { return Ok(()) };
        let applied = match job.apply(task, answer).await {
            Ok(told) => {
                told.into_iter().for_each(|what| self.tell(id, what));
                match job.finish_if_done().await {
                    Ok(true) => {
                        active.remove(id);
                        drop(active);
                        self.set_state(id, JobState::Succeeded).await?;
                        return Ok(());
                    }
                    Ok(false) => self.dispatch(job).await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        drop(active);
        match applied {
            Ok(()) => Ok(()),
            Err(error) => self.fail(id, error.to_string()).await,
        }
    }

    /// The job cannot go on; what it has done stays.
    async fn fail(&self, id: &str, error: String) -> Result<(), Error> {
        if self.active.lock().await.contains_key(id) {
            self.withdraw(id, JobState::Failed { error }).await?;
        }
        Ok(())
    }

    async fn withdraw(&self, id: &str, state: JobState) -> Result<(), Error> {
        let removed = self.active.lock().await.remove(id);
        if let Some(mut job) = removed {
            job.forget_handed_out();
            let mut by_kind: BTreeMap<WorkerKind, Vec<ItemId>> = BTreeMap::new();
            for item in job.ready() {
                let id = ItemId::from(format!("{}/{}", item.job, item.task));
                by_kind.entry(item.work.worker()).or_default().push(id);
            }
            for (kind, ids) in by_kind {
                self.queues.of(kind).cancel(&ids).await?;
            }
        }
        self.set_state(id, state).await?;
        Ok(())
    }

    async fn set_state(&self, id: &str, state: JobState) -> Result<JobRecord, Error> {
        let mut records = self.records.lock().await;
        let record = records.get_mut(id).ok_or_else(|| Error::UnknownJob(id.into()))?;
        record.state = state.clone();
        record.updated_unix_ms = unix_ms();
        self.journal.update(record)?;
        self.tell(id, What::State(state));
        Ok(record.clone())
    }

    async fn offer_again(&self, shutdown: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(OFFER_AGAIN) => {}
            }
            for job in self.active.lock().await.values_mut() {
                job.forget_handed_out();
                self.dispatch(job).await?;
            }
        }
    }

    fn tell(&self, job: &str, what: What) {
        // Nobody watching is no error.
        let _ = self.events.send(JobEvent { job: job.to_owned(), what });
    }
}

/// Job and task of an item's id.
fn split(item: &ItemId) -> Option<(String, TaskId)> {
    let (job, task) = item.as_str().split_once('/')?;
    Some((job.to_owned(), task.parse().ok()?))
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
