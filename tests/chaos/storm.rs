//! The storm: does what was planned to a cluster at work, starts again what was killed, as an
//! orchestrator would, mends what poison broke, as an operator would, and notes what happens.

use crate::eye::{Eye, Held};
use crate::history::{Inflicted, Outcome, Written};
use crate::plan::{Fault, Plan, Scale};
use crate::tap::{Poison, Source, Tap};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rlaif_job::WorkerKind;
use rlaif_testkit::{Cluster, Process, RedisServer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longer than anything correct takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);
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

/// How long a worker may be silent.
pub const LEASE: Duration = Duration::from_secs(2);
/// Starts of an item.
pub const MAX_STARTS: usize = 4;

/// Nothing went on, or the job was over too early: what was waited for.
struct Stuck(String);

/// A labeler and its wire. Replaced by one of another name when it dies.
struct Labeler {
    name: String,
    process: Process,
    tap: Tap,
}

/// Another worker. That of rollouts has a slow wire, or the pairs would be labelled before the storm
/// has begun.
struct Worker {
    service: &'static str,
    name: String,
    process: Process,
    _tap: Option<Tap>,
}

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
    pace: Duration,
    labelers: Vec<Labeler>,
    /// Names of labelers that are frozen.
    frozen: BTreeSet<String>,
    workers: Vec<Worker>,
    /// Of workers: each has a name of its own.
    started: usize,
    hits: BTreeMap<String, usize>,
    open: Vec<Open>,
    /// What was done.
    pub inflicted: Vec<Inflicted>,
    /// Labelers killed by poison.
    pub struck: usize,
    /// What nobody did.
    pub surprises: Vec<String>,
    cluster: Cluster,
}

impl Storm {
    /// Starts a cluster in `folder`, without workers, and submits the job to it.
    pub fn gather(program: &str, folder: &Path, job_file: &Path, seed: u64) -> Self {
        // What Redis has answered it has written, and its history is never rewritten.
        let redis = ["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
        let redis = RedisServer::start_with(&redis);
        let (lease, starts) = (format!("{LEASE:?}"), MAX_STARTS.to_string());
        let settings = [
            ("RLAIF__QUEUE__OPTIONS__LEASE", lease.as_str()),
            ("RLAIF__QUEUE__OPTIONS__MAX_STARTS", &starts),
        ];
        let cluster = Cluster::start(program, folder, redis, &settings);
        Self {
            began: Instant::now(),
            rng: ChaCha8Rng::seed_from_u64(!seed),
            job_file: job_file.to_owned(),
            job: cluster.submit(job_file),
            eye: Eye::on(&cluster.redis),
            poison: Poison::default(),
            pace: Duration::ZERO,
            labelers: Vec::new(),
            frozen: BTreeSet::new(),
            workers: Vec::new(),
            started: 0,
            hits: BTreeMap::new(),
            open: Vec::new(),
            inflicted: Vec::new(),
            struck: 0,
            surprises: Vec::new(),
            cluster,
        }
    }

    /// Spreads the poison, starts the workers, and lets happen what was planned, until the job is
    /// done. What does not go as it should is a surprise.
    pub fn rage(&mut self, plan: &Plan, poison: &BTreeSet<String>, scale: &Scale) {
        self.pace = scale.pace;
        self.poison.spread(poison.iter().map(|task| format!("{}/{task}", self.job)));
        self.labelers = (0..scale.labelers).map(|_| self.new_labeler()).collect();
        self.workers = ["rollout", "reward", "learner"].map(|kind| self.new_worker(kind)).into();
        if let Err(Stuck(what)) = self.follow(plan) {
            let jobs = self.cluster.ask(&["jobs"]);
            self.surprises.push(format!("{what} did not happen\n{jobs}"));
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

    /// What the job came to, and what was written to the queues. The cluster ends.
    pub fn settle(mut self) -> (Outcome, Written) {
        let manifest = self.cluster.manifest(&self.job);
        let preferences = self.cluster.ask(&["export", &self.job]);
        self.labelers.clear();
        self.workers.clear();
        self.cluster.kill_coordinator();
        let written = Written::read(&self.cluster.redis.history(), &self.job);
        let journal = self.cluster.folder().join("journal.redb");
        let run = self.cluster.run_folder(&self.job);
        (Outcome::read(&journal, &self.job, &run, &preferences, &manifest), written)
    }

    /// Time since the storm began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    fn is_over(&self) -> bool {
        self.cluster.run_folder(&self.job).join("manifest.json").exists()
    }

    /// Results in the coordinator's journal of times, which survives it.
    fn results_in_journal(&self) -> usize {
        let journal = self.cluster.run_folder(&self.job).join("journal.jsonl");
        let lines = std::fs::read(journal).unwrap_or_default();
        lines.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The sign that results come again.
    fn next_result(&self) -> Sign {
        Sign::Results(self.results_in_journal())
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

    /// One round of the orchestrator, the operator and the chronicler.
    fn tend(&mut self) {
        self.replace_the_fallen();
        self.note_recoveries();
        self.put_dead_letters_back();
    }

    fn new_tap(&self, name: &str, pace: Duration) -> Tap {
        let (redis, job) = (self.cluster.redis.socket(), self.job.clone());
        let source = Source { redis, job, poison: self.poison.clone() };
        Tap::open(self.cluster.folder().join(format!("{name}.sock")), source, pace)
    }

    fn new_labeler(&mut self) -> Labeler {
        let name = self.new_name("labeler");
        let tap = self.new_tap(&name, Duration::ZERO);
        let mut command = self.cluster.worker("labeler", &name);
        command.env("RLAIF__QUEUE__URL", tap.url());
        Labeler { process: Process::spawn(&mut command), name, tap }
    }

    fn new_worker(&mut self, service: &'static str) -> Worker {
        let name = self.new_name(service);
        let mut command = self.cluster.worker(service, &name);
        let tap = (service == "rollout").then(|| self.new_tap(&name, self.pace));
        if let Some(tap) = &tap {
            command.env("RLAIF__QUEUE__URL", tap.url());
        }
        Worker { service, name, process: Process::spawn(&mut command), _tap: tap }
    }

    fn new_name(&mut self, service: &str) -> String {
        self.started += 1;
        format!("{service}-{}", self.started)
    }

    fn replace_the_fallen(&mut self) {
        for slot in 0..self.labelers.len() {
            let labeler = &mut self.labelers[slot];
            if labeler.tap.is_struck() {
                labeler.process.kill();
                self.struck += 1;
            } else if labeler.process.is_running() {
                continue;
            } else {
                self.surprises.push(format!("{} ended by itself", labeler.name));
            }
            self.labelers[slot] = self.new_labeler();
        }
        for slot in 0..self.workers.len() {
            let Worker { service, name, process, .. } = &mut self.workers[slot];
            if !process.is_running() {
                self.surprises.push(format!("{name} ended by itself"));
                let service = *service;
                self.workers[slot] = self.new_worker(service);
            }
        }
        if !self.cluster.coordinator_is_running() {
            self.surprises.push("the coordinator ended by itself".into());
            self.cluster.start_coordinator();
        }
    }

    fn note_recoveries(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let results = self.results_in_journal();
        for open in std::mem::take(&mut self.open) {
            let recovered = match &open.sign {
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
                let zombie = self.labelers.iter_mut().find(|l| l.name == held.worker);
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

    fn inflict(&mut self, fault: Fault) -> Result<(), Stuck> {
        match fault {
            Fault::LabelerKilled => {
                let (slot, held) = match self.rng.random_bool(0.25) {
                    true => self.catch(Self::try_a_labeler_anywhere)?,
                    false => self.catch(Self::try_a_labeler_giving_a_result)?,
                };
                let labeler = &mut self.labelers[slot];
                labeler.process.kill();
                let name = labeler.name.clone();
                let sign = held.map_or_else(|| self.next_result(), Sign::TakenOver);
                self.note(fault, &name, sign);
                self.labelers[slot] = self.new_labeler();
            }
            Fault::LabelerFrozen => {
                self.until("an end of frozen labelers", |storm| {
                    storm.frozen.len() < FROZEN_AT_ONCE
                })?;
                let (slot, held) = self.catch(Self::try_a_labeler_giving_a_result)?;
                let name = self.labelers[slot].name.clone();
                self.frozen.insert(name.clone());
                let sign = held.map_or_else(|| self.next_result(), Sign::TakenOver);
                self.note(fault, &name, sign);
            }
            Fault::RedisKilled => {
                self.cluster.redis.kill();
                self.wait_up_to(AWAY_MS);
                self.cluster.redis.restart();
                self.eye = Eye::on(&self.cluster.redis);
                let sign = self.next_result();
                self.note(fault, "redis", sign);
            }
            Fault::CoordinatorKilled => {
                self.cluster.kill_coordinator();
                self.wait_up_to(AWAY_MS);
                self.cluster.start_coordinator();
                let sign = self.next_result();
                self.note(fault, "coordinator", sign);
                let again = self.cluster.submit(&self.job_file);
                if again != self.job {
                    self.surprises.push(format!("submitted again it is {again}"));
                }
            }
            Fault::LearnerKilled => {
                let (slot, held) = self.catch(Self::try_the_learner)?;
                self.kill_the_learner(fault, slot, held);
            }
            Fault::CheckpointTorn => {
                let (slot, held) = self.catch_the_learner_writing()?;
                self.kill_the_learner(fault, slot, held);
            }
        }
        Ok(())
    }

    fn kill_the_learner(&mut self, fault: Fault, slot: usize, held: Held) {
        self.workers[slot].process.kill();
        self.note(fault, &held.worker.clone(), Sign::TakenOver(held));
        self.workers[slot] = self.new_worker("learner");
    }

    fn note(&mut self, fault: Fault, who: &str, sign: Sign) {
        let victim = match &sign {
            Sign::TakenOver(held) => format!("{who} with {}", held.item),
            Sign::Results(_) => who.to_owned(),
        };
        let (at, since) = (self.age(), Instant::now());
        self.open.push(Open { index: self.inflicted.len(), since, sign });
        self.inflicted.push(Inflicted { fault, victim, at, recovery: None });
    }

    fn wait_up_to(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..=ms)));
    }

    /// A worker, frozen in the state that `attempt` looks for, and what it has in hand.
    fn catch<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Option<T>) -> Result<T, Stuck> {
        let mut caught = None;
        self.until("a worker where the fault is to hit it", |storm| {
            caught = attempt(storm);
            caught.is_some()
        })?;
        Ok(caught.expect("waited for"))
    }

    /// A labeler, frozen wherever it is.
    fn try_a_labeler_anywhere(&mut self) -> Option<(usize, Option<Held>)> {
        let slot = self.a_labeler()?;
        self.labelers[slot].process.freeze();
        let held = self.eye.in_hand(WorkerKind::Labeler, &self.labelers[slot].name);
        if held.as_ref().is_some_and(|held| !self.may_hit(&held.item)) {
            self.labelers[slot].process.wake();
            return None;
        }
        Some((slot, held))
    }

    /// A labeler, frozen, that has worked on an item and whose result is on its way: it reaches Redis
    /// when its tap is released.
    fn try_a_labeler_giving_a_result(&mut self) -> Option<(usize, Option<Held>)> {
        let slot = self.a_labeler()?;
        let labeler = &mut self.labelers[slot];
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
        self.labelers[slot].process.wake();
        self.labelers[slot].tap.release();
        None
    }

    /// One that is not frozen.
    fn a_labeler(&mut self) -> Option<usize> {
        let slot = self.rng.random_range(0..self.labelers.len());
        (!self.frozen.contains(&self.labelers[slot].name)).then_some(slot)
    }

    /// Counts a hit of an item, unless it has had as many as an innocent one may.
    fn may_hit(&mut self, item: &str) -> bool {
        let hits = self.hits.entry(item.to_owned()).or_default();
        *hits += 1;
        *hits <= HITS
    }

    /// What a frozen worker has started, after all that it sent has arrived.
    fn firmly_in_hand(&mut self, kind: WorkerKind, name: &str) -> Option<Held> {
        self.eye.in_hand(kind, name)?;
        std::thread::sleep(IN_FLIGHT);
        self.eye.in_hand(kind, name).filter(|held| held.is_started)
    }

    fn learner(&self) -> usize {
        let learner = self.workers.iter().position(|worker| worker.service == "learner");
        learner.expect("there is a learner")
    }

    /// The learner, frozen in the middle of a step.
    fn try_the_learner(&mut self) -> Option<(usize, Held)> {
        let slot = self.learner();
        self.workers[slot].process.freeze();
        let name = self.workers[slot].name.clone();
        let held = self.firmly_in_hand(WorkerKind::Learner, &name);
        if held.is_none() {
            self.workers[slot].process.wake();
        }
        held.map(|held| (slot, held))
    }

    /// The learner, frozen while a training state is half written: the store writes beside the name
    /// that a state gets when it is whole.
    fn catch_the_learner_writing(&mut self) -> Result<(usize, Held), Stuck> {
        let states = self.cluster.run_folder(&self.job).join("state");
        let half_written = || {
            let files = std::fs::read_dir(&states).into_iter().flatten().flatten();
            let mut files = files.map(|file| file.path());
            files.find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with("policy-") && name.contains(".safetensors#")
            })
        };
        let started = Instant::now();
        for round in 0_u64.. {
            if let Some(half) = half_written() {
                let slot = self.learner();
                self.workers[slot].process.freeze();
                let name = self.workers[slot].name.clone();
                let held = self.eye.in_hand(WorkerKind::Learner, &name);
                if let Some(held) = held
                    && half.exists()
                {
                    return Ok((slot, held));
                }
                self.workers[slot].process.wake();
            }
            if round.is_multiple_of(256) {
                self.tend();
            }
            if self.is_over() || started.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Err(Stuck("a learner caught writing".into()))
    }
}
