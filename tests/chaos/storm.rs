//! The storm: does what was planned to a cluster at work, starts again what was killed, mends what
//! poison broke, as an operator would, and notes what happens.

use crate::crew::Crew;
use crate::eye::{Eye, Held};
use crate::history::{Inflicted, Outcome, Written};
use crate::plan::{Fault, Plan, Scale};
use crate::tap::{Poison, Source};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_job::WorkerKind;
use rlaif_testkit::{Cluster, RedisServer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a worker may be silent.
pub const LEASE: Duration = Duration::from_secs(2);
/// Starts of an item.
pub const MAX_STARTS: usize = 4;

/// Longer than anything correct takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
/// How often the disk is looked at for a state that is half written.
const WRITING_POLL: Duration = Duration::from_micros(50);
/// How long a labeler is watched for a result before another one is.
const AT_WORK: Duration = Duration::from_millis(200);
/// How long what was sent before a SIGSTOP may be on its way to Redis.
const IN_FLIGHT: Duration = Duration::from_millis(30);
/// How long Redis and the coordinator are away, at most.
const AWAY_MS: u64 = 500;
/// Labelers that are frozen at once, so that there is somebody to take over.
const FROZEN_AT_ONCE: usize = 2;
/// Kills and freezes that hit the same innocent item: two less than it has starts, for a start may
/// also be lost to a machine that stalls.
const HITS: usize = MAX_STARTS - 2;

/// What was waited for and did not come.
struct Stuck(String);

/// By what a fault is known to be recovered from.
enum Sign {
    /// What the victim had in hand is in another's.
    TakenOver(Held),
    /// The journal has more results than this.
    Results(usize),
}

/// A fault that has not been recovered from.
struct Open {
    index: usize,
    since: Instant,
    sign: Sign,
}

/// A cluster at work on a job, and what is done to it.
pub struct Storm {
    began: Instant,
    rng: ChaCha8Rng,
    job_file: PathBuf,
    job: String,
    eye: Eye,
    poison: Poison,
    /// Names of labelers that are frozen.
    frozen: BTreeSet<String>,
    /// How often a fault hit each item.
    hits: BTreeMap<String, usize>,
    open: Vec<Open>,
    /// What was done.
    pub inflicted: Vec<Inflicted>,
    /// Labelers killed by poison.
    pub struck: usize,
    /// What nobody did.
    pub surprises: Vec<String>,
    crew: Crew,
    cluster: Cluster,
}

impl Storm {
    /// Starts a cluster in `folder`, and submits the job to it. Its tasks in `poison` are poison.
    pub fn gather(
        program: &str,
        folder: &Path,
        job_file: &Path,
        poison: &BTreeSet<String>,
        scale: &Scale,
        seed: u64,
    ) -> Self {
        // What Redis has answered it has written, which outlives a kill also where it is not synced,
        // so the test does not hang on a slow disk. Its history is never rewritten.
        let redis = ["--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
        let redis = RedisServer::start_with(&redis);
        let (lease, starts) = (format!("{LEASE:?}"), MAX_STARTS.to_string());
        let settings = [
            ("RLAIF__QUEUE__OPTIONS__LEASE", lease.as_str()),
            ("RLAIF__QUEUE__OPTIONS__MAX_STARTS", &starts),
        ];
        let cluster = Cluster::start(program, folder, redis, &settings);
        let job = cluster.submit(job_file);
        let poison = Poison::of(poison.iter().map(|task| format!("{job}/{task}")));
        let (redis, seen) = (cluster.redis.socket(), job.clone());
        let source = Source { redis, job: seen, poison: poison.clone() };
        Self {
            began: Instant::now(),
            rng: ChaCha8Rng::seed_from_u64(!seed),
            job_file: job_file.to_owned(),
            job,
            eye: Eye::on(&cluster.redis),
            poison,
            frozen: BTreeSet::new(),
            hits: BTreeMap::new(),
            open: Vec::new(),
            inflicted: Vec::new(),
            struck: 0,
            surprises: Vec::new(),
            crew: Crew::start(&cluster, source, scale),
            cluster,
        }
    }

    /// Lets happen what was planned, until the job is done and every fault recovered from. That it
    /// does not come to that is a surprise.
    pub fn rage(&mut self, plan: &Plan) {
        if let Err(Stuck(what)) = self.follow(plan) {
            let jobs = self.cluster.ask(&["jobs"]);
            self.surprises.push(format!("{what} did not come\n{jobs}"));
        }
    }

    fn follow(&mut self, plan: &Plan) -> Result<(), Stuck> {
        for (hour, fault) in &plan.faults {
            self.until(&format!("result {hour}"), |storm| storm.eye.results() >= *hour)?;
            self.inflict(*fault)?;
        }
        self.until("the end of the job and of every fault", |storm| {
            storm.is_over() && storm.open.is_empty()
        })
    }

    /// Whether the job is done.
    pub fn is_over(&self) -> bool {
        self.cluster.run_folder(&self.job).join("manifest.json").exists()
    }

    /// Time since the storm began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the job, which is over, came to, and what was written to the queues. The cluster ends.
    pub fn settle(self) -> (Outcome, Written) {
        let Self { mut cluster, crew, job, .. } = self;
        let manifest = cluster.manifest(&job);
        let preferences = cluster.ask(&["export", &job]);
        drop(crew);
        cluster.kill_coordinator();
        let written = Written::read(&cluster.redis.history(), &job);
        let (journal, run) = (cluster.folder().join("journal.redb"), cluster.run_folder(&job));
        (Outcome::read(&journal, &job, &run, &preferences, &manifest), written)
    }

    /// Looks after the cluster until `condition` holds.
    fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Stuck> {
        let started = Instant::now();
        loop {
            self.tend();
            if condition(self) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(Stuck(what.to_owned()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// One round of the orchestrator, the chronicler and the operator.
    fn tend(&mut self) {
        let fallen = self.crew.replace_the_fallen(&self.cluster);
        self.struck += fallen.struck;
        let ended = fallen.by_themselves.into_iter().map(|name| format!("{name} ended by itself"));
        self.surprises.extend(ended);
        if !self.cluster.coordinator_is_running() {
            self.surprises.push("the coordinator ended by itself".into());
            self.cluster.start_coordinator();
        }
        self.note_recoveries();
        self.put_dead_letters_back();
    }

    fn note_recoveries(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let results = self.results_in_journal();
        for open in std::mem::take(&mut self.open) {
            let recovered = match &open.sign {
                // The frozen stay so past their lease, also when a failed job takes its items back.
                Sign::TakenOver(held) if self.frozen.contains(&held.worker) => {
                    open.since.elapsed() > LEASE && self.eye.is_taken_over(held)
                }
                Sign::TakenOver(held) => self.eye.is_taken_over(held),
                Sign::Results(before) => results > *before,
            };
            if !recovered {
                self.open.push(open);
                continue;
            }
            self.inflicted[open.index].recovery = Some(open.since.elapsed());
            if let Sign::TakenOver(held) = &open.sign
                && self.frozen.remove(&held.worker)
            {
                let mut labelers = self.crew.labelers.iter_mut();
                let zombie = labelers.find(|labeler| labeler.name == held.worker);
                let zombie = zombie.expect("nobody kills a frozen labeler");
                // Its result is on its way now, and comes too late.
                zombie.tap.release();
                zombie.process.wake();
            }
        }
    }

    /// An operator finds a failed job's dead letters, mends what is wrong with them, and lets them be
    /// tried again.
    fn put_dead_letters_back(&mut self) {
        if WorkerKind::ALL.into_iter().all(|kind| self.eye.dead_letters(kind) == 0) {
            return;
        }
        let jobs = self.cluster.ask(&["jobs"]);
        if !jobs.lines().any(|line| line.starts_with(&self.job) && line.contains(" failed ")) {
            return;
        }
        let letters = self.cluster.ask(&["dead-letters", &self.job]);
        let tasks: Vec<&str> = letters.lines().filter_map(|l| l.split(' ').next()).collect();
        if tasks.is_empty() {
            return;
        }
        for task in &tasks {
            self.poison.mend(&format!("{}/{task}", self.job));
        }
        let requeue = ["dead-letters", &self.job, "requeue"].into_iter().chain(tasks);
        self.cluster.ask(&requeue.collect::<Vec<_>>());
    }

    /// Results in the coordinator's journal of times, which survives it.
    fn results_in_journal(&self) -> usize {
        let journal = self.cluster.run_folder(&self.job).join("journal.jsonl");
        let lines = std::fs::read(journal).unwrap_or_default();
        lines.iter().filter(|byte| **byte == b'\n').count()
    }

    fn inflict(&mut self, fault: Fault) -> Result<(), Stuck> {
        match fault {
            Fault::LabelerKilled => {
                let (slot, held) = match self.rng.random_bool(0.25) {
                    true => self.catch(Self::try_a_labeler_anywhere)?,
                    false => self.catch(Self::try_a_labeler_giving_a_result)?,
                };
                self.crew.labelers[slot].process.kill();
                self.note_about_a_labeler(fault, slot, held);
                self.crew.replace_labeler(&self.cluster, slot);
            }
            Fault::LabelerFrozen => {
                self.until("an end of frozen labelers", |storm| {
                    storm.frozen.len() < FROZEN_AT_ONCE
                })?;
                let (slot, held) = self.catch(Self::try_a_labeler_giving_a_result)?;
                self.frozen.insert(self.crew.labelers[slot].name.clone());
                self.note_about_a_labeler(fault, slot, held);
            }
            Fault::RedisKilled => {
                self.cluster.redis.kill();
                self.stay_away();
                self.cluster.redis.restart();
                self.eye = Eye::on(&self.cluster.redis);
                self.note(fault, "redis".into(), Sign::Results(self.results_in_journal()));
            }
            Fault::CoordinatorKilled => {
                self.cluster.kill_coordinator();
                self.stay_away();
                self.cluster.start_coordinator();
                self.note(fault, "coordinator".into(), Sign::Results(self.results_in_journal()));
                let again = self.cluster.submit(&self.job_file);
                if again != self.job {
                    self.surprises.push(format!("submitted again the job is {again}"));
                }
            }
            Fault::LearnerKilled => {
                let held = self.catch(Self::try_the_learner)?;
                self.kill_the_learner(fault, held);
            }
            Fault::CheckpointTorn => {
                let held = self.catch_the_learner_writing()?;
                self.kill_the_learner(fault, held);
            }
        }
        Ok(())
    }

    fn stay_away(&mut self) {
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..=AWAY_MS)));
    }

    fn kill_the_learner(&mut self, fault: Fault, held: Held) {
        self.crew.learner.process.kill();
        let victim = format!("{} with {}", held.worker, held.item);
        self.note(fault, victim, Sign::TakenOver(held));
        self.crew.replace_learner(&self.cluster);
    }

    fn note_about_a_labeler(&mut self, fault: Fault, slot: usize, held: Option<Held>) {
        let name = &self.crew.labelers[slot].name;
        match held {
            Some(held) => {
                let victim = format!("{name} with {}", held.item);
                self.note(fault, victim, Sign::TakenOver(held));
            }
            None => {
                self.note(fault, name.clone(), Sign::Results(self.results_in_journal()));
            }
        }
    }

    fn note(&mut self, fault: Fault, victim: String, sign: Sign) {
        let (at, since) = (self.age(), Instant::now());
        self.open.push(Open { index: self.inflicted.len(), since, sign });
        self.inflicted.push(Inflicted { fault, victim, at, recovery: None });
    }

    /// A worker, frozen in the state that `attempt` looks for.
    fn catch<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Option<T>) -> Result<T, Stuck> {
        let mut caught = None;
        self.until("a worker where the fault is to hit it", |storm| {
            caught = attempt(storm);
            caught.is_some()
        })?;
        Ok(caught.expect("waited for"))
    }

    /// A labeler, frozen wherever it is, and what it has in hand.
    fn try_a_labeler_anywhere(&mut self) -> Option<(usize, Option<Held>)> {
        let slot = self.a_labeler()?;
        let labeler = &mut self.crew.labelers[slot];
        labeler.process.freeze();
        let held = self.eye.in_hand(WorkerKind::Labeler, &labeler.name);
        if held.as_ref().is_some_and(|held| !self.may_hit(&held.item)) {
            self.crew.labelers[slot].process.wake();
            return None;
        }
        Some((slot, held))
    }

    /// A labeler, frozen, that has worked on an item and whose result is on its way: it reaches Redis
    /// when its tap is released.
    fn try_a_labeler_giving_a_result(&mut self) -> Option<(usize, Option<Held>)> {
        let slot = self.a_labeler()?;
        let labeler = &mut self.crew.labelers[slot];
        labeler.tap.arm();
        let armed = Instant::now();
        while labeler.tap.holding().is_none() && armed.elapsed() < AT_WORK {
            std::thread::sleep(Duration::from_millis(1));
        }
        labeler.process.freeze();
        // On a machine that stalls the lease may be another's already.
        let held = self.eye.in_hand(WorkerKind::Labeler, &labeler.name);
        let held = held.filter(|held| labeler.tap.holding().is_some_and(|item| item == held.item));
        if held.as_ref().is_some_and(|held| self.may_hit(&held.item)) {
            return Some((slot, held));
        }
        let labeler = &mut self.crew.labelers[slot];
        labeler.process.wake();
        labeler.tap.release();
        None
    }

    /// One that is not frozen.
    fn a_labeler(&mut self) -> Option<usize> {
        let slot = self.rng.random_range(0..self.crew.labelers.len());
        (!self.frozen.contains(&self.crew.labelers[slot].name)).then_some(slot)
    }

    /// Counts a hit of an item, unless it has had as many as an innocent one may.
    fn may_hit(&mut self, item: &str) -> bool {
        let hits = self.hits.entry(item.to_owned()).or_default();
        *hits += 1;
        *hits <= HITS
    }

    /// The learner, frozen in the middle of a step, after all that it sent before has arrived.
    fn try_the_learner(&mut self) -> Option<Held> {
        let learner = &mut self.crew.learner;
        learner.process.freeze();
        let mut held = self.eye.in_hand(WorkerKind::Learner, &learner.name);
        if held.is_some() {
            std::thread::sleep(IN_FLIGHT);
            held = self.eye.in_hand(WorkerKind::Learner, &learner.name);
        }
        let held = held.filter(|held| held.is_started);
        if held.is_none() {
            learner.process.wake();
        }
        held
    }

    /// The learner, frozen while a training state is half written: the store writes beside the name
    /// that a state gets when it is whole.
    fn catch_the_learner_writing(&mut self) -> Result<Held, Stuck> {
        let states = self.cluster.run_folder(&self.job).join("state");
        // What an earlier death left is nobody's.
        let left = half_written(&states);
        let (started, mut looks) = (Instant::now(), 0_u64);
        while !self.is_over() && started.elapsed() < PATIENCE {
            if let Some(half) = half_written(&states).difference(&left).next() {
                let learner = &mut self.crew.learner;
                learner.process.freeze();
                let held = self.eye.in_hand(WorkerKind::Learner, &learner.name);
                if let Some(held) = held.filter(|_| half.exists()) {
                    return Ok(held);
                }
                learner.process.wake();
            }
            looks += 1;
            if looks.is_multiple_of(256) {
                self.tend();
            }
            std::thread::sleep(WRITING_POLL);
        }
        Err(Stuck("a learner caught writing".into()))
    }
}

/// States of a policy in the making.
fn half_written(states: &Path) -> BTreeSet<PathBuf> {
    let files = std::fs::read_dir(states).into_iter().flatten().flatten();
    let half = |path: &PathBuf| path.to_string_lossy().contains(".safetensors#");
    files.map(|file| file.path()).filter(half).collect()
}
