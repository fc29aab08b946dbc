//! All jobs of one coordinator, and how they are steered.

use crate::active_job::ActiveJob;
use crate::board::Board;
use crate::crew::Tally;
use crate::disk::on_disk;
use crate::metrics::CoordinatorMetrics;
use crate::queues::{Standing, Trouble};
use crate::{Error, JobEvent, JobRecord, JobState, Journal, Places, Queues};
use rlaif_artifacts::ArtifactStore;
use rlaif_job::{RunFolder, StageProgress, Submission, WorkerKind};
use rlaif_service::telemetry;
use rlaif_types::{Ceiling, ContentHash};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Bounds of a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs worked on at once; further ones are refused.
    pub max_running_jobs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_running_jobs: 64 }
    }
}

/// The coordinator; clones are the same one.
#[derive(Clone)]
pub struct Coordinator {
    pub(crate) shared: Arc<Shared>,
}

/// Where a job in memory sits; empty while it is opened and once it has ended.
pub(crate) type Seat = Arc<Mutex<Option<ActiveJob>>>;

pub(crate) struct Shared {
    pub places: Places,
    pub journal: Arc<Journal>,
    pub queues: Queues,
    pub standing: Standing,
    pub artifacts: ArtifactStore,
    pub limits: Limits,
    pub board: Board,
    pub metrics: CoordinatorMetrics,
    /// What workers have done.
    pub tally: Tally,
    /// Jobs that are worked on. Never locked across an await.
    pub active: std::sync::Mutex<BTreeMap<String, Seat>>,
    /// Submitting and steering take turns, so that no job is opened twice. Taken before a seat, never
    /// by who has one.
    pub steering: Arc<Mutex<()>>,
    /// Files of deleted jobs are removed by one at a time. Taken before the turn to steer.
    pub sweeping: Mutex<()>,
    /// There are tasks to hand out.
    pub offer: Notify,
}

/// What came of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The job.
    pub id: String,
    /// The key was known: this is the job that it started then.
    pub already_submitted: bool,
}

impl Coordinator {
    /// Opens the journal and takes up every job that was running.
    ///
    /// # Errors
    /// When the journal or the artifact store cannot be used. A job that cannot be taken up fails.
    pub async fn open(
        places: Places,
        queues: Queues,
        artifacts: ArtifactStore,
        limits: Limits,
    ) -> Result<Self, Error> {
        let journal = Arc::new(Journal::open(places.journal())?);
        let board = Board::open(journal.clone())?;
        let shared = Shared {
            places,
            journal,
            queues,
            standing: Standing::default(),
            artifacts,
            limits,
            board,
            metrics: CoordinatorMetrics::new(),
            tally: Tally::default(),
            active: std::sync::Mutex::default(),
            steering: Arc::default(),
            sweeping: Mutex::default(),
            offer: Notify::new(),
        };
        let coordinator = Self { shared: Arc::new(shared) };
        for record in coordinator.list() {
            if record.state == JobState::Running {
                coordinator.shared.take_up(record).await?;
            }
        }
        Ok(coordinator)
    }

    /// Steers when its turn has come, and then to the end: whoever asked may leave at any moment, at its
    /// deadline say, and what was begun must not stay half done. Who leaves before its turn asked for
    /// nothing.
    pub(crate) async fn in_turn<T: Send + 'static>(
        &self,
        steering: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = self.shared.steering.clone().lock_owned().await;
        let steering = async move {
            let _turn = turn;
            steering.await
        };
        outcome_of(tokio::spawn(steering.in_current_span())).await
    }

    /// Accepts a job, whose work belongs to the trace of the span that this is called in, also after
    /// a restart; the same key gives the same job, however often it is submitted. When this
    /// returns, the job is on disk. Where the artifact store is away, the job waits for it.
    ///
    /// # Errors
    /// When too many run, the queues are full, the key's job was deleted, or writing fails.
    pub async fn submit(&self, submission: Arc<Submission>, key: &str) -> Result<Accepted, Error> {
        let (coordinator, key) = (self.clone(), key.to_owned());
        self.in_turn(async move { coordinator.submit_in_turn(&submission, &key).await }).await
    }

    async fn submit_in_turn(&self, submission: &Submission, key: &str) -> Result<Accepted, Error> {
        let shared = &self.shared;
        if let Some(id) = shared.journal.job_of(key)? {
            if shared.board.was_deleted(&id) {
                return Err(Error::KeyOfDeleted(id));
            }
            return Ok(Accepted { id, already_submitted: true });
        }
        let running = shared.board.running();
        if running >= shared.limits.max_running_jobs {
            return Err(Error::Busy { running });
        }
        if shared.standing.any(Trouble::Full) {
            return Err(Error::QueueFull);
        }
        let id = shared.places.job_id(&submission.job.name, &ContentHash::of(key));
        on_disk(|| -> Result<(), Error> {
            let folder = shared.places.begin(&id)?;
            folder.prepare(&submission.job.to_toml(), true)?;
            Ok(submission.save(&folder)?)
        })?;
        let record = JobRecord {
            price: submission.job.labeler.price,
            judge_price: submission.job.evaluate.judge.as_ref().and_then(|judge| judge.price),
            ceiling: submission.job.labeler.ceiling(),
            trace: telemetry::headers(&tracing::Span::current()).into_iter().collect(),
            ..JobRecord::accepted(&id, &submission.job.name, unix_ms())
        };
        shared.journal.accept(key, &record)?;
        shared.board.add(record.clone());
        match shared.take_up(record).await {
            // It is accepted all the same: whoever submits it again would be told so.
            Err(error) if error.is_passing() => {
                tracing::warn!(job = id, %error, "the job cannot be taken up yet; trying again");
            }
            taken_up => taken_up?,
        }
        Ok(Accepted { id, already_submitted: false })
    }

    /// Whether `submission` is what the job was made of.
    ///
    /// # Errors
    /// When there is no such job, or its folder cannot be read.
    pub fn is_made_of(&self, id: &str, submission: &Submission) -> Result<bool, Error> {
        let folder = self.run_folder(id)?;
        on_disk(|| -> Result<bool, Error> {
            let job = rlaif_job::Job::parse(&folder.path("job.toml"))?;
            Ok(Submission::load(job, &folder)? == *submission)
        })
    }

    /// All jobs, by id.
    pub fn list(&self) -> Vec<JobRecord> {
        self.shared.board.list()
    }

    /// A job's record.
    ///
    /// # Errors
    /// When there is none.
    pub fn job(&self, id: &str) -> Result<JobRecord, Error> {
        self.shared.board.job(id)
    }

    /// Where a job's files are.
    ///
    /// # Errors
    /// When there is no such job.
    pub fn run_folder(&self, id: &str) -> Result<RunFolder, Error> {
        Ok(self.shared.places.run_folder(&self.job(id)?.id))
    }

    /// How far each stage of a job is; empty where there is no such job.
    pub fn progress(&self, id: &str) -> Vec<StageProgress> {
        self.job(id).map(|job| job.stages).unwrap_or_default()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.shared.board.subscribe()
    }

    /// Number of the event told last, of any job.
    pub fn sequence(&self) -> u64 {
        self.shared.board.sequence()
    }

    /// Stops handing out a job's tasks and takes back those nobody has begun.
    ///
    /// # Errors
    /// When there is no such job, it has ended, or a queue is away.
    pub async fn pause(&self, id: &str) -> Result<JobRecord, Error> {
        let (coordinator, id) = (self.clone(), id.to_owned());
        self.in_turn(async move { coordinator.pause_in_turn(&id).await }).await
    }

    async fn pause_in_turn(&self, id: &str) -> Result<JobRecord, Error> {
        let record = self.job(id)?;
        match record.state {
            JobState::Paused => Ok(record),
            JobState::Running => self.shared.withdraw(id, JobState::Paused).await,
            _ => Err(Error::wrong_state(&record, "only a running job can be paused")),
        }
    }

    /// Gives a job up for good, and its dead letters with it. Where a queue was away before all letters
    /// were gone, doing it again removes the rest.
    ///
    /// # Errors
    /// When there is no such job, it has succeeded, or a queue is away.
    pub async fn cancel(&self, id: &str) -> Result<JobRecord, Error> {
        let (coordinator, id) = (self.clone(), id.to_owned());
        self.in_turn(async move { coordinator.cancel_in_turn(&id).await }).await
    }

    async fn cancel_in_turn(&self, id: &str) -> Result<JobRecord, Error> {
        let record = self.job(id)?;
        match record.state {
            JobState::Cancelled => {}
            JobState::Succeeded => return Err(Error::wrong_state(&record, "its report is there")),
            JobState::Running | JobState::Paused | JobState::Failed { .. } => {
                self.shared.withdraw(id, JobState::Cancelled).await?;
            }
        }
        self.shared.drop_dead_letters(id).await?;
        self.shared.board.without_dead(id, None)
    }

    /// Goes on with a job that was paused or has failed; a running or finished one is left alone. `ceiling`
    /// is what its labeler may take from now on, also where the job runs.
    ///
    /// # Errors
    /// When there is no such job, it was cancelled, has dead letters, or cannot be opened. Where that is
    /// because the artifact store is away, the job runs, and is taken up once the store is back.
    pub async fn resume(&self, id: &str, ceiling: Ceiling) -> Result<JobRecord, Error> {
        let (coordinator, id) = (self.clone(), id.to_owned());
        let resuming = async move {
            coordinator.shared.board.bound(&id, ceiling)?;
            coordinator.resume_in_turn(&id).await
        };
        self.in_turn(resuming).await
    }

    /// [`Coordinator::resume`] for who has the turn to steer.
    pub(crate) async fn resume_in_turn(&self, id: &str) -> Result<JobRecord, Error> {
        let record = self.job(id)?;
        match record.state {
            JobState::Succeeded => return Ok(record),
            JobState::Cancelled => {
                return Err(Error::wrong_state(&record, "submit it anew under another key"));
            }
            JobState::Running if self.shared.is_seated(id) => return Ok(record),
            // It could not be taken up when it was submitted or resumed.
            JobState::Running => self.shared.take_up(record).await?,
            JobState::Paused | JobState::Failed { .. } => {
                if self.has_dead_letters(id).await? {
                    return Err(Error::DeadLetters(id.to_owned()));
                }
                // A Redis that lost its letters lost these deaths with them.
                self.shared.board.without_dead(id, None)?;
                let record = self.shared.board.set_state(id, JobState::Running)?;
                self.shared.take_up(record).await?;
            }
        }
        self.job(id)
    }

    /// Hands out tasks and takes in results until `shutdown`. A queue that is away is tried again
    /// until it is back.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn run(&self, shutdown: CancellationToken) -> Result<(), Error> {
        let mut loops = tokio::task::JoinSet::new();
        for kind in WorkerKind::ALL {
            let (shared, shutdown) = (self.shared.clone(), shutdown.clone());
            loops.spawn(async move { shared.take_in_results(kind, shutdown).await });
        }
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move { until(&stop, shared.hand_out()).await });
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move { until(&stop, shared.take_up_those_that_wait()).await });
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move { until(&stop, shared.take_back_what_is_left()).await });
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move { until(&stop, shared.sweep_what_is_left()).await });
        let (shared, stop) = (self.shared.clone(), shutdown.clone());
        loops.spawn(async move {
            shared.show();
            shared.measure(stop).await;
            Ok(())
        });
        let mut outcome = Ok(());
        while let Some(ended) = loops.join_next().await {
            // The first to fail ends all.
            shutdown.cancel();
            match ended {
                Ok(Err(error)) if outcome.is_ok() => outcome = Err(error),
                Ok(_) => {}
                Err(ended) => {
                    // Without a panic the runtime ends, and this with it.
                    if let Ok(panic) = ended.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        outcome
    }
}

/// Runs a loop until `shutdown`, wherever it waits then, such as for a queue that is away. What is cut off is
/// done after the restart, as after a kill.
async fn until(
    shutdown: &CancellationToken,
    forever: impl Future<Output = Result<(), Error>>,
) -> Result<(), Error> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        failed = forever => failed,
    }
}

/// What a task comes to; its panic goes on here.
pub(crate) async fn outcome_of<T>(task: JoinHandle<T>) -> T {
    match task.await {
        Ok(outcome) => outcome,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and who waits here with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
