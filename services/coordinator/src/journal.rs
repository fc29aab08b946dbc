//! The journal: every job and every result, on disk before anyone is told of it.
//!
//! Results are all there is to remember: whatever else the coordinator knows of a job follows from
//! them. So only what answers its task is recorded, and what turns out to be of no use is forgotten.
//! One transaction is one fsync, so results are recorded by the batch. A thread of the runtime that waits
//! for it has its other tasks done elsewhere.

mod in_vain;
mod sweeps;
mod take_backs;

pub use in_vain::InVain;

use crate::disk::on_disk;
use crate::{Error, JobRecord};
use in_vain::{IN_VAIN, pay};
use opentelemetry::metrics::Histogram;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use rlaif_job::{Answer, TaskId};
use rlaif_service::metrics::{self, definitions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sweeps::{AT_ONCE, SWEEPS};
use take_backs::TAKE_BACKS;

/// How long a killed predecessor may still hold the journal.
const PREDECESSOR: Duration = Duration::from_secs(3);

const JOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("jobs");
const KEYS: TableDefinition<&str, &str> = TableDefinition::new("submission keys");
/// By job and task; task names sort in the order in which tasks depend on each other.
const RESULTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("results");

/// The journal of one coordinator.
pub struct Journal {
    database: Database,
    path: PathBuf,
    /// How long commits take, in seconds: mostly one fsync each.
    commits: Histogram<f64>,
}

impl Journal {
    /// Opens or creates the journal at `path`.
    ///
    /// # Errors
    /// When it cannot be opened, for example because another process has it open.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = |e: &dyn std::fmt::Display| Error::Journal {
            path: path.to_owned(),
            what: e.to_string(),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| fail(&e))?;
        }
        let database = on_disk(|| open_patiently(path)).map_err(|e| fail(&e))?;
        let commits = metrics::seconds(&definitions::JOURNAL_COMMIT_DURATION);
        let journal = Self { database, path: path.to_owned(), commits };
        journal.write(|transaction| {
            transaction.open_table(JOBS)?;
            transaction.open_table(KEYS)?;
            transaction.open_table(RESULTS)?;
            transaction.open_table(SWEEPS)?;
            transaction.open_table(IN_VAIN)?;
            transaction.open_table(TAKE_BACKS)?;
            Ok(())
        })?;
        Ok(journal)
    }

    /// Accepts a job under a submission key; a key seen before gives the job it was used for.
    ///
    /// # Errors
    /// When writing fails.
    pub fn accept(&self, key: &str, job: &JobRecord) -> Result<Option<String>, Error> {
        let mut before = None;
        self.write(|transaction| {
            let mut keys = transaction.open_table(KEYS)?;
            before = keys.get(key)?.map(|id| id.value().to_owned());
            if before.is_none() {
                keys.insert(key, job.id.as_str())?;
                transaction.open_table(JOBS)?.insert(job.id.as_str(), to_bytes(job).as_slice())?;
            }
            Ok(())
        })?;
        Ok(before)
    }

    /// The job that a submission key was used for.
    ///
    /// # Errors
    /// When reading fails.
    pub fn job_of(&self, key: &str) -> Result<Option<String>, Error> {
        self.read(|transaction| {
            Ok(transaction.open_table(KEYS)?.get(key)?.map(|id| id.value().to_owned()))
        })
    }

    /// Replaces a job's record.
    ///
    /// # Errors
    /// When writing fails.
    pub fn update(&self, job: &JobRecord) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.open_table(JOBS)?.insert(job.id.as_str(), to_bytes(job).as_slice())?;
            Ok(())
        })
    }

    /// All jobs, by id.
    ///
    /// # Errors
    /// When reading fails.
    pub fn jobs(&self) -> Result<Vec<JobRecord>, Error> {
        self.read(|transaction| {
            let mut jobs = Vec::new();
            for entry in transaction.open_table(JOBS)?.iter()? {
                jobs.push(from_bytes(entry?.1.value())?);
            }
            Ok(jobs)
        })
    }

    /// Removes a job with its results; how many these were. In the same transaction its files become owed to
    /// [be swept](Journal::to_sweep). Its submission key stays used, so that its id is never given again.
    ///
    /// # Errors
    /// When writing fails; then the job is as it was.
    pub fn delete(&self, job: &str) -> Result<u64, Error> {
        let mut results = 0;
        self.write(|transaction| {
            transaction.open_table(JOBS)?.remove(job)?;
            let mut table = transaction.open_table(RESULTS)?;
            table.retain_in((job, "")..(job, "\u{10ffff}"), |_, _| {
                results += 1;
                false
            })?;
            let mut in_vain = transaction.open_table(IN_VAIN)?;
            in_vain.retain_in((job, "", "")..(job, "\u{10ffff}", ""), |_, _| false)?;
            transaction.open_table(SWEEPS)?.insert(job, AT_ONCE)?;
            Ok(())
        })?;
        Ok(results)
    }

    /// Records results, each of a job's task; the first of a task counts, and none of a job that is not
    /// here, since it was deleted. What another answer to a task took that has one already is
    /// [kept account of](Journal::in_vain) in the same transaction. Those are returned, however often they came.
    ///
    /// # Errors
    /// When writing fails; then none is recorded.
    pub fn record(&self, results: &[(String, TaskId, Vec<u8>)]) -> Result<Vec<InVain>, Error> {
        let mut others = Vec::new();
        self.write(|transaction| {
            let jobs = transaction.open_table(JOBS)?;
            let mut table = transaction.open_table(RESULTS)?;
            let mut in_vain = transaction.open_table(IN_VAIN)?;
            for (job, task, result) in results {
                if jobs.get(job.as_str())?.is_none() {
                    continue;
                }
                let name = task.to_string();
                let key = (job.as_str(), name.as_str());
                let is_the_same = table.get(key)?.map(|first| first.value() == result.as_slice());
                match is_the_same {
                    None => drop(table.insert(key, result.as_slice())?),
                    // It comes once more, since nobody acknowledged it.
                    Some(true) => {}
                    Some(false) => {
                        if let Some(other) = InVain::of(job, *task, result) {
                            pay(&mut in_vain, &other)?;
                            others.push(other);
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(others)
    }

    /// Forgets those of a job's results that `are_forgotten` says: their tasks are open again. What they took
    /// is [kept account of](Journal::in_vain) in the same transaction. One that comes once more, since a kill
    /// kept it from being acknowledged, is counted once more: a budget ends early rather than late.
    ///
    /// # Errors
    /// When writing fails; then none is forgotten.
    pub fn forget(&self, job: &str, are_forgotten: impl Fn(TaskId) -> bool) -> Result<(), Error> {
        self.write(|transaction| {
            let mut forgotten = Vec::new();
            let mut results = transaction.open_table(RESULTS)?;
            results.retain_in((job, "")..(job, "\u{10ffff}"), |(_, task), answer| {
                let task = task.parse::<TaskId>().ok().filter(|task| are_forgotten(*task));
                forgotten.extend(task.and_then(|task| InVain::of(job, task, answer)));
                task.is_none()
            })?;
            let mut in_vain = transaction.open_table(IN_VAIN)?;
            for answer in &forgotten {
                pay(&mut in_vain, answer)?;
            }
            Ok(())
        })
    }

    /// Gives each of a job's results to `f`, in the order of the tasks' dependence.
    ///
    /// # Errors
    /// When reading fails, or at the first complaint of `f`.
    pub fn results<E: From<Error>>(
        &self,
        job: &str,
        mut f: impl FnMut(TaskId, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        on_disk(|| -> Result<(), E> {
            let transaction = self.database.begin_read().map_err(|e| self.fail(&e))?;
            let table = transaction.open_table(RESULTS).map_err(|e| self.fail(&e))?;
            // No task's name begins with this character or one after it.
            let range = table.range((job, "")..(job, "\u{10ffff}")).map_err(|e| self.fail(&e))?;
            for entry in range {
                let (key, value) = entry.map_err(|e| self.fail(&e))?;
                f(read_task(job, key.value().1)?, value.value())?;
            }
            Ok(())
        })
    }

    /// As [`Journal::results`], read.
    ///
    /// # Errors
    /// When reading fails, a result is unreadable, or at the first complaint of `f`.
    pub fn answers<E: From<Error>>(
        &self,
        job: &str,
        mut f: impl FnMut(TaskId, Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        self.results(job, |task, bytes| f(task, read_answer(job, task, bytes)?))
    }

    fn write(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), Error> {
        on_disk(|| {
            let transaction = self.database.begin_write().map_err(|e| self.fail(&e))?;
            work(&transaction).map_err(|e| self.fail(&e))?;
            // Immediate durability is redb's default: commit returns when the data is on disk.
            let started = Instant::now();
            let committed = transaction.commit().map_err(|e| self.fail(&e));
            self.commits.record(started.elapsed().as_secs_f64(), &[]);
            committed
        })
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        on_disk(|| {
            let transaction = self.database.begin_read().map_err(|e| self.fail(&e))?;
            work(&transaction).map_err(|e| self.fail(&e))
        })
    }

    fn fail(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Journal { path: self.path.clone(), what: error.to_string() }
    }
}

/// Opens the database, waiting a moment for a process that was killed just now to let go of it.
fn open_patiently(path: &Path) -> Result<Database, DatabaseError> {
    let started = Instant::now();
    loop {
        match Database::create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < PREDECESSOR => {
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return opened,
        }
    }
}

/// Of what a recorded result is one. One that this version does not know is its job's trouble alone.
fn read_task(job: &str, task: &str) -> Result<TaskId, Error> {
    task.parse().map_err(|what| Error::Unreadable { item: format!("{job}/{task}"), what })
}

/// A recorded result.
pub fn read_answer(job: &str, task: TaskId, bytes: &[u8]) -> Result<Answer, Error> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::Unreadable { item: format!("{job}/{task}"), what: e.to_string() })
}

fn to_bytes(job: &JobRecord) -> Vec<u8> {
    serde_json::to_vec(job).expect("a job's record is plain data")
}

fn from_bytes(bytes: &[u8]) -> Result<JobRecord, redb::Error> {
    serde_json::from_slice(bytes).map_err(|e| redb::Error::Corrupted(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> JobRecord {
        JobRecord::accepted(id, "tiny", 1)
    }

    #[test]
    fn a_submission_key_seen_before_gives_the_job_it_was_used_for() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.redb")).unwrap();
        assert_eq!(journal.accept("key", &job("a")).unwrap(), None);
        assert_eq!(journal.accept("key", &job("b")).unwrap(), Some("a".into()));
        assert_eq!(journal.job_of("key").unwrap(), Some("a".into()));
        assert_eq!(journal.job_of("another").unwrap(), None);
        assert_eq!(journal.jobs().unwrap(), [job("a")]);
    }

    #[test]
    fn results_come_back_after_a_restart_in_order_and_the_first_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path).unwrap();
        for id in ["a", "b"] {
            journal.accept(id, &job(id)).unwrap();
        }
        let result = |task, text: &str| ("a".to_owned(), task, text.as_bytes().to_vec());
        journal
            .record(&[result(TaskId::Label(0), "label"), result(TaskId::Sample(10), "s10")])
            .unwrap();
        journal
            .record(&[result(TaskId::Sample(9), "s9"), result(TaskId::Label(0), "again")])
            .unwrap();
        journal.record(&[("b".into(), TaskId::Reward, Vec::new())]).unwrap();
        drop(journal);

        let journal = Journal::open(&path).unwrap();
        let mut seen = Vec::new();
        let keep = |task, bytes: &[u8]| {
            seen.push((task, String::from_utf8(bytes.to_vec()).unwrap()));
            Ok::<_, Error>(())
        };
        journal.results("a", keep).unwrap();
        let expected =
            [(TaskId::Sample(9), "s9"), (TaskId::Sample(10), "s10"), (TaskId::Label(0), "label")];
        assert_eq!(seen, expected.map(|(task, text)| (task, text.to_owned())));
    }

    #[test]
    fn a_result_that_was_forgotten_can_be_recorded_anew() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("journal.redb")).unwrap();
        for id in ["a", "b"] {
            journal.accept(id, &job(id)).unwrap();
        }
        let result = |job: &str, task, text: &str| (job.to_owned(), task, text.as_bytes().to_vec());
        let (sample, label) = (TaskId::Sample(0), TaskId::Label(0));
        let first =
            [result("a", sample, "old"), result("a", label, "old"), result("b", label, "old")];
        journal.record(&first).unwrap();
        journal.forget("a", |task| task.stage() == "label").unwrap();
        journal.record(&first.map(|(job, task, _)| result(&job, task, "new"))).unwrap();

        let of_job = |job| {
            let mut seen = Vec::new();
            let keep = |task, bytes: &[u8]| {
                seen.push((task, String::from_utf8(bytes.to_vec()).unwrap()));
                Ok::<_, Error>(())
            };
            journal.results(job, keep).unwrap();
            seen
        };
        assert_eq!(of_job("a"), [(sample, "old".to_owned()), (label, "new".to_owned())]);
        assert_eq!(of_job("b"), [(label, "old".to_owned())]);
    }

    #[test]
    fn a_journal_that_another_has_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let _open = Journal::open(&path).unwrap();
        let error = Journal::open(&path).err().unwrap().to_string();
        assert!(error.contains("journal.redb"), "{error}");
    }
}
