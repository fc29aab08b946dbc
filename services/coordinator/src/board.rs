//! What everybody may see of all jobs: their records and what happens to them. It never waits for a
//! queue, so whoever asks how a job stands is answered also while Redis is away.

use crate::coordinator::unix_ms;
use crate::disk::on_disk;
use crate::pace::Pace;
use crate::tally::JobTally;
use crate::{Error, JobEvent, JobRecord, JobState, Journal, Used, What};
use rlaif_job::{StageProgress, TaskId};
use rlaif_types::Ceiling;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast;

/// Events a slow watcher may lag behind before it misses some.
pub const EVENT_BUFFER: usize = 4096;

/// The records of all jobs, as in the journal, and the latest of their progress.
pub struct Board {
    journal: Arc<Journal>,
    /// One change at a time goes to the journal. Taken before `jobs`.
    changing: Mutex<()>,
    jobs: Mutex<Jobs>,
    events: broadcast::Sender<JobEvent>,
}

struct Jobs {
    records: BTreeMap<String, JobRecord>,
    /// Of running jobs' stages, by job and stage.
    paces: BTreeMap<String, BTreeMap<String, Pace>>,
    /// Of jobs that were worked on since the coordinator started.
    tallies: BTreeMap<String, JobTally>,
    /// Ids of jobs that are no more, so that whoever asks for one is told so.
    deleted: BTreeSet<String>,
    /// Of the event told last. It starts with the clock, so that one coordinator's numbers are above
    /// those of the one before it.
    sequence: u64,
}

impl Board {
    /// The jobs that the journal knows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(journal: Arc<Journal>) -> Result<Self, Error> {
        let sequence = unix_ms();
        let shown = |job: JobRecord| (job.id.clone(), JobRecord { sequence, ..job });
        let records = journal.jobs()?.into_iter().map(shown).collect();
        let deleted = journal.deleted()?;
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        Ok(Self {
            journal,
            changing: Mutex::default(),
            jobs: Mutex::new(Jobs {
                records,
                paces: BTreeMap::new(),
                tallies: BTreeMap::new(),
                deleted,
                sequence,
            }),
            events,
        })
    }

    /// No code under the guard panics or waits, for a disk least of all: everybody looks here.
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.events.subscribe()
    }

    /// Number of the event told last, of any job.
    pub fn sequence(&self) -> u64 {
        self.jobs().sequence
    }

    /// All jobs, by id.
    pub fn list(&self) -> Vec<JobRecord> {
        let jobs = self.jobs();
        jobs.records.values().map(|record| jobs.shown(record)).collect()
    }

    /// A job.
    ///
    /// # Errors
    /// When there is none of this id, or none any more.
    pub fn job(&self, id: &str) -> Result<JobRecord, Error> {
        let jobs = self.jobs();
        Ok(jobs.shown(jobs.record(id)?))
    }

    /// Whether there was a job of this id that was deleted.
    pub fn was_deleted(&self, id: &str) -> bool {
        self.jobs().deleted.contains(id)
    }

    /// How many jobs are being worked on.
    pub fn running(&self) -> usize {
        self.jobs().records.values().filter(|job| job.state == JobState::Running).count()
    }

    /// Ids of the jobs that are being worked on, or ought to be.
    pub fn ids_of_running(&self) -> Vec<String> {
        let jobs = self.jobs();
        let running = jobs.records.values().filter(|job| job.state == JobState::Running);
        running.map(|job| job.id.clone()).collect()
    }

    /// How many jobs are in each state, by its name.
    pub fn jobs_by_state(&self) -> [(&'static str, u64); JobState::NAMES.len()] {
        let jobs = self.jobs();
        JobState::NAMES.map(|name| {
            let there = jobs.records.values().filter(|job| job.state.name() == name);
            (name, there.count() as u64)
        })
    }

    /// Shows a job that the journal has accepted.
    pub fn add(&self, mut record: JobRecord) {
        let mut jobs = self.jobs();
        record.sequence = jobs.sequence;
        jobs.records.insert(record.id.clone(), record);
    }

    /// Changes a job's record: in the journal first, and then on the board, whose record may have moved
    /// meanwhile. `told` sees it changed, under the guard.
    fn change<T>(
        &self,
        id: &str,
        change: impl Fn(&mut JobRecord),
        told: impl FnOnce(&mut Jobs) -> T,
    ) -> Result<T, Error> {
        on_disk(|| -> Result<T, Error> {
            let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut written = self.jobs().record(id)?.clone();
            change(&mut written);
            self.journal.update(&written)?;
            let mut jobs = self.jobs();
            change(jobs.records.get_mut(id).ok_or_else(|| Error::UnknownJob(id.into()))?);
            Ok(told(&mut jobs))
        })
    }

    /// A job is in another state now; when this returns the journal has it.
    ///
    /// # Errors
    /// When there is no such job, or the journal cannot be written.
    pub fn set_state(&self, id: &str, now: JobState) -> Result<JobRecord, Error> {
        let (before, at) = (self.job(id)?.state, unix_ms());
        let change = |record: &mut JobRecord| {
            record.state = now.clone();
            record.updated_unix_ms = at;
        };
        self.change(id, change, |jobs| {
            // What it did before it was interrupted says nothing of its pace after.
            jobs.paces.remove(id);
            self.tell(jobs, id, What::State { before, now: now.clone() });
            jobs.shown(&jobs.records[id])
        })
    }

    /// A job is no more, and its results with it; how many these were. When this returns the journal has it.
    ///
    /// # Errors
    /// When there is no such job, or the journal cannot be written.
    pub fn remove(&self, id: &str) -> Result<u64, Error> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs().record(id)?;
        let results = self.journal.delete(id)?;
        let mut jobs = self.jobs();
        self.tell(&mut jobs, id, What::Deleted);
        jobs.records.remove(id);
        jobs.paces.remove(id);
        jobs.tallies.remove(id);
        jobs.deleted.insert(id.to_owned());
        Ok(results)
    }

    /// All stages of a job that is taken up, and what its labeler and its judge have used so far.
    pub fn taken_up(&self, id: &str, stages: Vec<StageProgress>, used: Used) {
        let mut jobs = self.jobs();
        if let Some(record) = jobs.records.get_mut(id) {
            record.stages.clone_from(&stages);
            record.used = used;
        }
        for stage in stages {
            self.tell(&mut jobs, id, What::Progress(stage));
        }
    }

    /// What a job's labeler and its judge have used so far.
    pub fn set_used(&self, id: &str, used: Used) {
        if let Some(record) = self.jobs().records.get_mut(id) {
            record.used = used;
        }
    }

    /// A job's labeler may take this much; when this returns the journal has it.
    ///
    /// # Errors
    /// When there is no such job, or the journal cannot be written.
    pub fn bound(&self, id: &str, ceiling: Ceiling) -> Result<(), Error> {
        self.change(id, |record| record.ceiling = ceiling, |_| ())
    }

    /// What a job's results come to so far.
    pub fn set_tally(&self, id: &str, tally: JobTally) {
        self.jobs().tallies.insert(id.to_owned(), tally);
    }

    /// Jobs that have not ended, or not for longer than `ended_ms` milliseconds, with what their results
    /// come to; nothing of those that were not worked on since the coordinator started.
    pub fn recent(&self, ended_ms: u64) -> Vec<(JobRecord, JobTally)> {
        let (jobs, since) = (self.jobs(), unix_ms().saturating_sub(ended_ms));
        let goes_on = |state: &JobState| matches!(state, JobState::Running | JobState::Paused);
        let recent = |job: &&JobRecord| goes_on(&job.state) || job.updated_unix_ms >= since;
        let with_tally = |job: &JobRecord| {
            (jobs.shown(job), jobs.tallies.get(&job.id).cloned().unwrap_or_default())
        };
        jobs.records.values().filter(recent).map(with_tally).collect()
    }

    /// Tasks of a job were given up; the journal has it with the job's next state.
    pub fn add_dead(&self, id: &str, tasks: &[TaskId]) {
        if let Some(record) = self.jobs().records.get_mut(id) {
            record.dead.extend(tasks);
        }
    }

    /// Dead letters of these tasks, or all, are no more; when this returns the journal has it.
    ///
    /// # Errors
    /// When there is no such job, or the journal cannot be written.
    pub fn without_dead(&self, id: &str, tasks: Option<&[TaskId]>) -> Result<JobRecord, Error> {
        let change = |record: &mut JobRecord| match tasks {
            Some(tasks) => record.dead.retain(|task| !tasks.contains(task)),
            None => record.dead.clear(),
        };
        self.change(id, change, |jobs| jobs.shown(&jobs.records[id]))
    }

    /// Something happened to a job, its state excepted.
    pub fn happened(&self, id: &str, mut what: What) {
        let mut jobs = self.jobs();
        if let What::Progress(stage) = &mut what {
            jobs.advance(id, stage);
        }
        self.tell(&mut jobs, id, what);
    }

    fn tell(&self, jobs: &mut Jobs, id: &str, what: What) {
        let Some(record) = jobs.records.get_mut(id) else { return };
        jobs.sequence += 1;
        record.sequence = jobs.sequence;
        let (job, sequence, unix_ms) = (id.to_owned(), jobs.sequence, unix_ms());
        // Nobody watching is no error.
        let _ = self.events.send(JobEvent { job, sequence, unix_ms, what });
    }
}

impl Jobs {
    /// The record of a job.
    ///
    /// # Errors
    /// When there is none of this id, or none any more.
    fn record(&self, id: &str) -> Result<&JobRecord, Error> {
        self.records.get(id).ok_or_else(|| match self.deleted.contains(id) {
            true => Error::Deleted(id.to_owned()),
            false => Error::UnknownJob(id.to_owned()),
        })
    }

    /// The record as people see it now.
    fn shown(&self, record: &JobRecord) -> JobRecord {
        let mut shown = record.clone();
        for stage in &mut shown.stages {
            self.complete(record, stage);
        }
        shown
    }

    /// Adds what the job's machine does not know: the dead, and the time to the end.
    fn complete(&self, job: &JobRecord, stage: &mut StageProgress) {
        stage.dead_letters = job.dead.iter().filter(|task| task.stage() == stage.stage).count();
        let pace = self.paces.get(&job.id).and_then(|stages| stages.get(&stage.stage));
        let eta = pace.and_then(|pace| pace.eta(Instant::now()));
        stage.eta_seconds = eta.map(|eta| eta.as_secs_f64());
    }

    /// A stage went on. The record keeps what is said, and `stage` becomes what is shown.
    fn advance(&mut self, id: &str, stage: &mut StageProgress) {
        let Some(job) = self.records.get_mut(id) else { return };
        if job.state == JobState::Running {
            let pace = self.paces.entry(id.to_owned()).or_default();
            let pace = pace.entry(stage.stage.clone()).or_default();
            pace.advance(Instant::now(), stage.done, stage.total);
        }
        if let Some(known) = job.stages.iter_mut().find(|known| known.stage == stage.stage) {
            // A worker in the middle of a task knows nothing of those before.
            stage.unscorable = stage.unscorable.max(known.unscorable);
            known.clone_from(stage);
        }
        let job = &self.records[id];
        self.complete(job, stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::time::Duration;

    fn board(folder: &tempfile::TempDir) -> (Board, Arc<Journal>) {
        let journal = Arc::new(Journal::open(&folder.path().join("journal.redb")).unwrap());
        (Board::open(journal.clone()).unwrap(), journal)
    }

    fn running(id: &str) -> JobRecord {
        let stages = vec![StageProgress::new("label", 0, 9), StageProgress::new("policy", 0, 5)];
        JobRecord { stages, ..JobRecord::accepted(id, id, 1) }
    }

    #[test]
    fn a_stage_that_advanced_twice_has_a_time_to_its_end_until_its_job_stops() {
        let folder = tempfile::tempdir().unwrap();
        let (board, _) = board(&folder);
        let mut events = board.subscribe();
        board.add(running("job"));
        let etas = || {
            let stages = board.job("job").unwrap().stages.into_iter();
            stages.map(|stage| stage.eta_seconds.is_some()).collect::<Vec<_>>()
        };
        let mut told = Vec::new();
        for done in 1..=3 {
            let progress = StageProgress { unscorable: 2, ..StageProgress::new("label", done, 9) };
            board.happened("job", What::Progress(progress));
            let What::Progress(stage) = events.try_recv().unwrap().what else { panic!() };
            told.push(stage.eta_seconds.is_some());
        }
        assert_eq!((told, etas()), (vec![false, true, true], vec![true, false]));
        // A worker's message in between does not forget what could not be judged.
        board.happened("job", What::Progress(StageProgress::new("label", 4, 9)));
        assert_eq!(board.list()[0].stages[0].unscorable, 2);
        board.set_state("job", JobState::Paused).unwrap();
        assert_eq!(etas(), [false, false]);
    }

    #[test]
    fn how_a_job_stands_can_be_seen_while_the_journal_is_slow() {
        let folder = tempfile::tempdir().unwrap();
        let (board, journal) = board(&folder);
        journal.accept("key", &running("job")).unwrap();
        board.add(running("job"));
        journal.accept("another key", &running("another")).unwrap();
        journal.record(&[("another".to_owned(), TaskId::Reward, Vec::new())]).unwrap();
        let (writes, goes_on) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let slowly = |_: TaskId| {
                    writes.wait();
                    goes_on.wait();
                    true
                };
                journal.forget("another", slowly).unwrap();
            });
            writes.wait();
            let pausing = scope.spawn(|| board.set_state("job", JobState::Paused).unwrap());
            while board.changing.try_lock().is_ok() {
                std::thread::yield_now();
            }
            let meanwhile = board.job("job").unwrap().state;
            goes_on.wait();
            assert_eq!(meanwhile, JobState::Running);
            assert_eq!(pausing.join().unwrap().state, JobState::Paused);
        });
    }

    /// Else a disk that is slow to sync would hold up whoever asks anything.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_only_thread_of_a_runtime_goes_on_while_the_journal_is_slow() {
        let folder = tempfile::tempdir().unwrap();
        let (board, journal) = board(&folder);
        let board = Arc::new(board);
        for id in ["job", "another"] {
            journal.accept(id, &running(id)).unwrap();
        }
        board.add(running("job"));
        journal.record(&[("another".to_owned(), TaskId::Reward, Vec::new())]).unwrap();
        let (writes, goes_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let writing = std::thread::spawn({
            let (writes, goes_on) = (writes.clone(), goes_on.clone());
            let slowly = move |_: TaskId| {
                writes.wait();
                goes_on.wait();
                true
            };
            move || journal.forget("another", slowly).unwrap()
        });
        writes.wait();
        let pausing = tokio::spawn({
            let board = board.clone();
            async move { board.set_state("job", JobState::Paused).map(|job| job.state) }
        });
        while board.changing.try_lock().is_ok() {
            std::thread::yield_now();
        }
        let call = tokio::spawn(async move { board.list().len() });
        // The test has a thread of its own to wait on. Only where it fails does it wait to the end.
        let asked = Instant::now();
        while !call.is_finished() && asked.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_answered = call.is_finished();
        goes_on.wait();
        writing.join().unwrap();
        assert!(is_answered);
        assert_eq!(pausing.await.unwrap().unwrap(), JobState::Paused);
    }

    #[test]
    fn the_dead_are_counted_by_stage_and_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        {
            let (board, journal) = board(&folder);
            journal.accept("key", &running("job")).unwrap();
            board.add(running("job"));
            board.add_dead("job", &[TaskId::Label(1), TaskId::Label(7), TaskId::Step(0)]);
            board.set_state("job", JobState::Failed { error: "poison".into() }).unwrap();
        }
        let (board, _) = board(&folder);
        let dead = |job: JobRecord| job.stages.iter().map(|s| s.dead_letters).collect::<Vec<_>>();
        assert_eq!(dead(board.job("job").unwrap()), [2, 1]);
        assert_eq!(dead(board.without_dead("job", Some(&[TaskId::Label(7)])).unwrap()), [1, 1]);
        assert_eq!(dead(board.without_dead("job", None).unwrap()), [0, 0]);
    }
    #[test]
    fn a_removed_job_is_shown_nowhere_and_known_to_be_deleted_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let is_gone = |board: &Board| {
            let jobs = board.jobs_by_state().map(|(_, count)| count).iter().sum::<u64>();
            let shown = board.list().len() + board.recent(u64::MAX).len();
            assert_eq!((jobs, shown), (0, 0));
            assert!(matches!(board.job("job"), Err(Error::Deleted(id)) if id == "job"));
            assert!(matches!(board.job("another"), Err(Error::UnknownJob(_))));
        };
        {
            let (board, journal) = board(&folder);
            journal.accept("key", &running("job")).unwrap();
            board.add(running("job"));
            board.set_tally("job", JobTally::default());
            let mut events = board.subscribe();
            assert_eq!(board.remove("job").unwrap(), 0);
            assert_eq!(events.try_recv().unwrap().what, What::Deleted);
            is_gone(&board);
            assert!(matches!(board.remove("job"), Err(Error::Deleted(_))));
        }
        is_gone(&board(&folder).0);
    }
}
