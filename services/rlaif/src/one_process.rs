//! The whole cluster in one process: the coordinator and one worker of each kind over a queue in
//! memory. What `rlaif run` does is what a cluster does.

use crate::labeling::job_prices;
use anyhow::{Context, Result, anyhow, bail};
use rlaif_artifacts::ArtifactStore;
use rlaif_clerk::{Account, Clerk, Reuse};
use rlaif_coordinator::{Coordinator, JobEvent, JobState, Limits, Places, Queues, What};
use rlaif_job::{Job, Manifest, RunFolder, StageProgress, Submission, WinRate, WorkerKind};
use rlaif_labeler::LabelerExecutor;
use rlaif_learner::LearnerExecutor;
use rlaif_models::DeviceName;
use rlaif_queue::{Options, Queue};
use rlaif_reward::RewardExecutor;
use rlaif_rollout::RolloutExecutor;
use rlaif_types::Ceiling;
use rlaif_worker::memory::Limit;
use rlaif_worker::{Bench, Executor, ResourceOptions, Resources};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long tasks, and then threads at work, may keep the process from ending.
const GRACE: Duration = Duration::from_secs(1);

/// What a run ends with.
pub struct Finished {
    /// Win rates, the headline first.
    pub win_rates: Vec<WinRate>,
    /// Hashes of everything.
    pub manifest: Manifest,
    /// The report.
    pub report: PathBuf,
}

/// Runs `job` in `folder`, or goes on with the run there, telling `watch` how far each stage is. What its
/// labelers are asked is on `account`, in a ledger of the folder.
///
/// # Errors
/// When the job cannot be done; what it has done stays in the folder.
pub fn run(
    job: &Job,
    folder: &RunFolder,
    resume: bool,
    training_replicas: &[DeviceName],
    account: Account,
    watch: impl FnMut(&StageProgress),
) -> Result<Finished> {
    // Everything that can be refused is, before the folder is touched.
    let submission = Arc::new(Submission::read(job.clone())?);
    let device = job.device.parse().map_err(anyhow::Error::msg)?;
    let prices = match account.prices.is_empty() {
        true => job_prices(job)?.unwrap_or_default(),
        false => account.prices.clone(),
    };
    let runtime = Runtime::new().context("starting the asynchronous runtime")?;
    let places = Places::one_job(folder.root())?;
    let store = ArtifactStore::open(&places.jobs().to_string_lossy(), places.jobs())?;
    let training_replicas = training_replicas.to_vec();
    let precision = job.precision;
    let room = ResourceOptions::on(device);
    // A judge of its own is a role more.
    let judges = job.evaluate.judge.iter().count();
    let options = ResourceOptions {
        training_replicas,
        precision,
        max_models: room.max_models + judges,
        max_engines: room.max_engines + judges,
        // Whoever runs the job has held it against what is free.
        max_memory: Some(Limit::Any),
        ..room
    };
    let resources = Resources::new(store.clone(), runtime.handle().clone(), options)?;
    folder.prepare(&job.to_toml(), resume)?;
    // The clerk keeps below it exactly. The coordinator counts after the fact, and only by the job's own
    // prices; it is told what counts now, as it may remember another.
    let ceiling = account.ceiling.or(job.labeler.ceiling());
    let account = Account {
        ledger: Some(folder.path(RunFolder::LEDGER)),
        reuse: Reuse::Endpoints,
        prices,
        ceiling,
        ..account
    };
    let clerk = Clerk::new(account)?;
    let resources = resources.with_clerk(clerk);
    let done = runtime.block_on(async {
        let queues = Queues::new(|_| Queue::in_memory(Options::default()))?;
        let limits = Limits::default();
        let coordinator = Coordinator::open(places, queues.clone(), store.clone(), limits).await?;
        let events = coordinator.events();
        let id = take_up(&coordinator, submission, ceiling).await?;
        let stop = CancellationToken::new();
        let mut workers = start_workers(&queues, &store, &resources, &stop);
        let mut coordinating = tokio::spawn({
            let (coordinator, stop) = (coordinator.clone(), stop.clone());
            async move { coordinator.run(stop).await }
        });
        let follow = follow(&coordinator, &id, events, watch);
        let done = tokio::select! {
            followed = follow => followed,
            ended = &mut coordinating => match ended {
                Ok(Ok(())) => Err(anyhow!("the coordinator stopped before the job was done")),
                Ok(Err(error)) => Err(error.into()),
                Err(ended) => Err(anyhow::Error::new(ended).context("the coordinator's task")),
            },
        };
        // They end before the runtime does: whoever waits for a time on one that is ending panics.
        stop.cancel();
        let all_have_ended = async {
            while workers.join_next().await.is_some() {}
            if !coordinating.is_finished() {
                let _ = coordinating.await;
            }
        };
        let _ = timeout(GRACE, all_have_ended).await;
        done
    });
    // A thread in the middle of a computation cannot be stopped; the process ends without it.
    runtime.shutdown_timeout(GRACE);
    done?;
    finished(folder)
}

/// Submits the job, or resumes it where the journal knows it.
async fn take_up(
    coordinator: &Coordinator,
    submission: Arc<Submission>,
    ceiling: Ceiling,
) -> Result<String> {
    let id = coordinator.submit(submission, "run").await?.id;
    coordinator.resume(&id, ceiling).await?;
    Ok(id)
}

fn start_workers(
    queues: &Queues,
    store: &ArtifactStore,
    resources: &Resources,
    stop: &CancellationToken,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for kind in WorkerKind::ALL {
        let executor: Arc<dyn Executor> = match kind {
            WorkerKind::Rollout => Arc::new(RolloutExecutor::new(resources.clone())),
            WorkerKind::Labeler => Arc::new(LabelerExecutor::new(resources.clone())),
            WorkerKind::Reward => Arc::new(RewardExecutor::new(resources.clone())),
            WorkerKind::Learner => Arc::new(LearnerExecutor::new(resources.clone())),
        };
        let (queue, store, stop) = (queues.of(kind).clone(), store.clone(), stop.clone());
        workers.spawn(async move {
            let bench = Bench::new(kind, kind.queue(), executor, store).impatient();
            if let Err(error) = bench.serve(&queue, stop).await {
                tracing::error!(%error, worker = kind.queue(), "a worker ended");
            }
        });
    }
    workers
}

/// Waits until the job has ended, well or not.
async fn follow(
    coordinator: &Coordinator,
    id: &str,
    mut events: broadcast::Receiver<JobEvent>,
    mut watch: impl FnMut(&StageProgress),
) -> Result<()> {
    for stage in coordinator.progress(id) {
        watch(&stage);
    }
    loop {
        // Read each time, not only told: a slow watcher may miss events.
        match coordinator.job(id)?.state {
            JobState::Succeeded => return Ok(()),
            JobState::Failed { error } => bail!(error),
            JobState::Cancelled => bail!("the run was cancelled"),
            JobState::Running | JobState::Paused => {}
        }
        match events.recv().await {
            Ok(JobEvent { what: What::Progress(stage), .. }) => watch(&stage),
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => bail!("the coordinator is gone"),
        }
    }
}

fn finished(folder: &RunFolder) -> Result<Finished> {
    let win_rates = folder.finished("evaluate")?.context("the run has no evaluation")?;
    let manifest = std::fs::read(folder.path("manifest.json")).context("reading the manifest")?;
    let manifest = serde_json::from_slice(&manifest).context("reading the manifest")?;
    Ok(Finished { win_rates, manifest, report: folder.path("report.html") })
}
