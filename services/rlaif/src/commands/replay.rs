//! `rlaif replay`: makes steps of a run's policy again from what the run recorded, and says whether they
//! come out the same.
//!
//! It is a worker whose answers are those in the journal, but for the policy's steps, which it makes itself
//! and holds against what `metrics.jsonl` says of them. All it writes is in a folder of its own.

use anyhow::{Context, Result, bail};
use rlaif_artifacts::{ArtifactStore, Artifacts};
use rlaif_coordinator::{Error as CoordinatorError, Journal};
use rlaif_job::{
    Answer, Effect, Job, Machine, ModelRef, PART_METRICS, PolicyStep, RunFolder, Submission,
    TaskId, Work, WorkItem, WorkResult,
};
use rlaif_learner::LearnerExecutor;
use rlaif_worker::memory::Limit;
use rlaif_worker::{Advance, Executor, Progress, ResourceOptions, Resources};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

/// Make the steps of a finished or stopped run's policy again, from the rollouts and rewards that its journal
/// holds, up to one step, and compare what they measure with what the run recorded. On the CPU they are equal
/// to the bit; a step at which the run stopped stops again. The run itself is left as it is.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  rlaif replay runs/first --step 7\n  \
    rlaif replay backup/jobs/first-1f0c --step 7 --journal backup/journal.redb")]
pub struct Args {
    /// The run's folder; of a job of a cluster, a copy of its folder in the coordinator's, named by the job's id.
    run: PathBuf,
    /// The step, from 1.
    #[arg(long)]
    step: usize,
    /// For a job of a cluster: a copy of the coordinator's journal, which it keeps for all jobs.
    #[arg(long)]
    journal: Option<PathBuf>,
    /// For a job of a cluster that fine-tuned its policy first: a copy of the artifact store's folder.
    #[arg(long)]
    artifacts: Option<PathBuf>,
    /// Override the job's device: cpu, or cuda:N.
    #[arg(long)]
    device: Option<String>,
}

pub fn run(args: Args) -> Result<()> {
    let folder = RunFolder::new(&args.run);
    let mut recording = Recording::open(&folder, args.journal.as_deref())?;
    let job = recording.machine.job();
    let steps = job.rl.steps;
    if !(1..=steps).contains(&args.step) {
        bail!("--step: the run has steps 1 to {steps}, not {}", args.step);
    }
    let device = args.device.as_ref().unwrap_or(&job.device).parse().map_err(anyhow::Error::msg)?;
    let runtime = Runtime::new().context("starting the asynchronous runtime")?;
    let scratch = tempfile::tempdir().context("making a folder for the steps' artifacts")?;
    let store = ArtifactStore::open(&scratch.path().to_string_lossy(), scratch.path())?;
    let artifacts = store.job(&recording.id)?;
    let options = ResourceOptions {
        precision: job.precision,
        // It fitted when it was made, perhaps elsewhere.
        max_memory: Some(Limit::Any),
        ..ResourceOptions::on(device)
    };
    let resources = Resources::new(store, runtime.handle().clone(), options)?;
    runtime.block_on(recording.lay_out(&artifacts))?;
    let learner = LearnerExecutor::new(resources);
    let mut differing = 0;
    while let Some(item) = recording.next() {
        if let Work::PolicyStep(work) = &item.work {
            if let Some(start) = saved_start(work) {
                let (home, own) = (scratch.path().join(&recording.id), folder.path(start));
                let there = match &args.artifacts {
                    Some(store) if !own.exists() => store.join(&recording.id).join(start),
                    _ => own,
                };
                link(&there, &home.join(start))?;
            }
            let step = work.step;
            let made = make(&learner, &item, work)?;
            let recorded = recording.metrics.get(&step);
            let lines = compare(recorded, &made)
                .with_context(|| format!("step {step} was not recorded, and came to {made}"))?;
            differing += lines.iter().filter(|line| line.differs()).count();
            if step == args.step {
                show(step, &lines);
                return match differing {
                    0 => Ok(()),
                    count => bail!(
                        "{count} figures of steps 1 to {step} came out otherwise; on the CPU \
                         another version of rlaif made the run, or its records were changed"
                    ),
                };
            }
        }
        runtime.block_on(recording.answer(&item, &artifacts))?;
    }
    bail!("the run ended before step {}: it recorded {} steps", args.step, recording.metrics.len())
}

/// Makes a step; the trainer goes on from the step before.
fn make(learner: &LearnerExecutor, item: &WorkItem, work: &PolicyStep) -> Result<Value> {
    // The model that a run's last step saves is not wanted.
    let work = PolicyStep { steps: usize::MAX, ..work.clone() };
    let item = WorkItem { work: Work::PolicyStep(work), ..item.clone() };
    match learner.execute(&item, &Told)? {
        WorkResult::Stepped(stepped) => Ok(stepped.metrics),
        WorkResult::Impossible(why) => bail!(why),
        other => bail!("a step came to {other:?}"),
    }
}

/// The fine-tuned model that the policy starts from, where it is the run's own.
fn saved_start(work: &PolicyStep) -> Option<&str> {
    match &work.training.start.model {
        ModelRef::Saved(name) => Some(name),
        _ => None,
    }
}

fn link(there: &Path, here: &Path) -> Result<()> {
    if here.exists() {
        return Ok(());
    }
    let linked = || {
        std::fs::create_dir_all(here.parent().expect("it is below the store"))?;
        std::os::unix::fs::symlink(std::fs::canonicalize(there)?, here)
    };
    linked().with_context(|| format!("taking the start of the policy from {}", there.display()))
}

/// What a run has recorded, as far as its policy needs it.
struct Recording {
    id: String,
    machine: Machine,
    submission: Submission,
    answers: HashMap<TaskId, Answer>,
    ready: VecDeque<WorkItem>,
    /// What `metrics.jsonl` says of the policy's steps.
    metrics: HashMap<usize, Map<String, Value>>,
}

impl Recording {
    /// With `journal`, the run is the one among its jobs that the folder is named by.
    fn open(folder: &RunFolder, journal: Option<&Path>) -> Result<Self> {
        let path = journal.map_or_else(|| folder.path("journal.redb"), Path::to_owned);
        if !path.exists() {
            bail!(
                "{}: no journal; name the folder that `rlaif run` wrote, or for a job of a cluster, which \
                 keeps one journal for all its jobs, a copy of that by --journal",
                path.display()
            );
        }
        let (journal, is_for_all) = (Journal::open(&path)?, journal.is_some());
        let mut jobs = journal.jobs()?;
        if is_for_all {
            let id = folder.root().file_name().unwrap_or_default().to_string_lossy();
            jobs.retain(|job| job.id == id);
        }
        let job = jobs.pop().with_context(|| {
            let named = folder.root().display();
            format!(
                "{}: no job that {named} is the folder of: its name is the job's id",
                path.display()
            )
        })?;
        let submission = Submission::load(Job::parse(&folder.path("job.toml"))?, folder)?;
        let machine = Machine::new(job.id.clone(), submission.job.clone(), submission.inputs()?);
        let mut answers = HashMap::new();
        journal.answers(&job.id, |task, answer| {
            answers.insert(task, answer);
            Ok::<_, CoordinatorError>(())
        })?;
        let records: Vec<Map<String, Value>> = folder.read("metrics.jsonl")?;
        let policy = records.into_iter().filter(|record| record["stage"] == "policy");
        let metrics = policy
            .map(|record| (record["step"].as_u64().unwrap_or_default() as usize, record))
            .collect();
        Ok(Self { id: job.id, machine, submission, answers, ready: VecDeque::new(), metrics })
    }

    /// Puts the data where the steps look for it.
    async fn lay_out(&mut self, artifacts: &Artifacts) -> Result<()> {
        for (name, bytes) in std::mem::take(&mut self.submission.files) {
            artifacts.put(&name, bytes).await?;
        }
        Ok(())
    }

    /// The next item that the run has got to.
    fn next(&mut self) -> Option<WorkItem> {
        self.ready.extend(self.machine.ready());
        self.ready.pop_front()
    }

    /// Gives the machine the recorded answer; one that is not there is not waited for.
    async fn answer(&mut self, item: &WorkItem, artifacts: &Artifacts) -> Result<()> {
        let Some(answer) = self.answers.remove(&item.task) else { return Ok(()) };
        for effect in self.machine.complete(item.task, answer.result)? {
            match effect {
                Effect::Put { artifact, bytes } => artifacts.put(&artifact, bytes).await?,
                Effect::Delete { artifact } => artifacts.delete(&artifact).await?,
                Effect::Append { .. } | Effect::Publish { .. } | Effect::Finished { .. } => {}
            }
        }
        Ok(())
    }
}

/// A line a step, while the table is still to come.
struct Told;

impl Progress for Told {
    fn advance(&self, advance: &Advance<'_>) {
        eprintln!("{} {} {}", advance.stage, advance.done, advance.note);
    }
    fn measured(&self, _: &Value) {}
    fn used(&self, _: rlaif_job::Tokens) {}
}

/// A figure as it was recorded, and as it came out now.
struct Line {
    name: String,
    recorded: Value,
    made: Value,
}

impl Line {
    fn differs(&self) -> bool {
        self.recorded != self.made
    }
}

/// Every figure of either; none where nothing was recorded.
fn compare(recorded: Option<&Map<String, Value>>, made: &Value) -> Option<Vec<Line>> {
    let (recorded, made) = (recorded?, made.as_object()?);
    let names: BTreeSet<&String> = recorded.keys().chain(made.keys()).collect();
    // What the parts of a mixture gave is in the journal; no step measures it.
    let measured = |name: &&String| {
        !["stage", "step"].contains(&name.as_str()) && !name.starts_with(PART_METRICS)
    };
    let lines = names.into_iter().filter(measured);
    let figure = |of: &Map<String, Value>, name: &String| of.get(name).cloned().unwrap_or_default();
    let line = |name: &String| Line {
        name: name.clone(),
        recorded: figure(recorded, name),
        made: figure(made, name),
    };
    Some(lines.map(line).collect())
}

fn show(step: usize, lines: &[Line]) {
    println!("step {step:<20} {:>24} {:>24}", "recorded", "made again");
    for line in lines {
        let mark = if line.differs() { "  differs" } else { "" };
        println!("{:<25} {:>24} {:>24}{mark}", line.name, line.recorded, line.made);
    }
}
