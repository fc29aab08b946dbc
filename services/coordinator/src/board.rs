//! What everybody may see of all jobs: their records and what happens to them. It never waits for a
//! queue, so whoever asks how a job stands is answered also while Redis is away.

use crate::coordinator::unix_ms;
use crate::{Error, JobEvent, JobRecord, JobState, Journal, What};
use rlaif_job::StageProgress;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events a slow watcher may lag behind before it misses some.
const EVENT_BUFFER: usize = 4096;

/// The records of all jobs, as in the journal, and the latest of their progress.
pub struct Board {
    journal: Arc<Journal>,
    jobs: Mutex<Jobs>,
    events: broadcast::Sender<JobEvent>,
}

struct Jobs {
    records: BTreeMap<String, JobRecord>,
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
        let (events, _) = broadcast::channel(EVENT_BUFFER);
        Ok(Self { journal, jobs: Mutex::new(Jobs { records, sequence }), events })
    }

    /// No code under the guard panics or waits.
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.events.subscribe()
    }

    /// All jobs, by id.
    pub fn list(&self) -> Vec<JobRecord> {
        self.jobs().records.values().cloned().collect()
    }

    /// A job.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn job(&self, id: &str) -> Result<JobRecord, Error> {
        self.jobs().records.get(id).cloned().ok_or_else(|| Error::UnknownJob(id.into()))
    }

    /// How many jobs are being worked on.
    pub fn running(&self) -> usize {
        self.jobs().records.values().filter(|job| job.state == JobState::Running).count()
    }

    /// Shows a job that the journal has accepted.
    pub fn add(&self, mut record: JobRecord) {
        let mut jobs = self.jobs();
        record.sequence = jobs.sequence;
        jobs.records.insert(record.id.clone(), record);
    }

    /// A job is in another state now; when this returns the journal has it.
    ///
    /// # Errors
    /// When there is no such job, or the journal cannot be written.
    pub fn set_state(&self, id: &str, now: JobState) -> Result<JobRecord, Error> {
        let mut jobs = self.jobs();
        let known = jobs.records.get(id).ok_or_else(|| Error::UnknownJob(id.into()))?;
        let before = known.state.clone();
        let record = JobRecord { state: now.clone(), updated_unix_ms: unix_ms(), ..known.clone() };
        self.journal.update(&record)?;
        jobs.records.insert(id.to_owned(), record);
        self.tell(&mut jobs, id, What::State { before, now });
        Ok(jobs.records[id].clone())
    }

    /// All stages of a job that is taken up.
    pub fn set_stages(&self, id: &str, stages: Vec<StageProgress>) {
        let mut jobs = self.jobs();
        if let Some(record) = jobs.records.get_mut(id) {
            record.stages.clone_from(&stages);
        }
        for stage in stages {
            self.tell(&mut jobs, id, What::Progress(stage));
        }
    }

    /// Something happened to a job, its state excepted.
    pub fn happened(&self, id: &str, what: What) {
        let mut jobs = self.jobs();
        if let (What::Progress(stage), Some(job)) = (&what, jobs.records.get_mut(id))
            && let Some(known) = job.stages.iter_mut().find(|known| known.stage == stage.stage)
        {
            known.clone_from(stage);
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
