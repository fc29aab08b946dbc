//! The journal: every job and every result, on disk before anyone is told of it.
//!
//! Results are all there is to remember: whatever else the coordinator knows of a job follows from
//! them. So only what answers its task is recorded, and what turns out to be of no use is forgotten.
//! One transaction is one fsync, so results are recorded by the batch. A thread of the runtime that waits
//! for it has its other tasks done elsewhere.

use crate::disk::on_disk;
use crate::{Error, JobRecord};
use opentelemetry::metrics::Histogram;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, Table, TableDefinition};
use rlaif_job::{Answer, TaskId, Tokens};
use rlaif_queue::ItemId;
use rlaif_service::metrics::{self, definitions};
use rlaif_types::ContentHash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a killed predecessor may still hold the journal.
const PREDECESSOR: Duration = Duration::from_secs(3);

const JOBS: TableDefinition<&str, &[u8]> = TableDefinition::new("jobs");
const KEYS: TableDefinition<&str, &str> = TableDefinition::new("submission keys");
/// By job and task; task names sort in the order in which tasks depend on each other.
const RESULTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("results");
/// Deleted jobs of which files may be left, with when they are to be removed, in milliseconds since 1970.
const SWEEPS: TableDefinition<&str, u64> = TableDefinition::new("sweeps");
/// When files are to be removed that never were yet.
const AT_ONCE: u64 = 0;
/// Tokens that answers took of which nothing came, by job, task and the answer's hash: they are paid all the same.
const IN_VAIN: TableDefinition<(&str, &str, &str), &[u8]> = TableDefinition::new("paid in vain");

/// Items, by job and id, that are to be taken back from a queue that was away when their job stopped. They
/// outlive the job where it is deleted.
const TAKE_BACKS: TableDefinition<(&str, &str), ()> = TableDefinition::new("to take back");

/// The journal of one coordinator.
pub struct Journal {
    database: Database,
    path: PathBuf,
    /// How long commits take, in seconds: mostly one fsync each.
    commits: Histogram<f64>,
}

/// An answer of which nothing comes, and what it took all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InVain {
    /// The job whose task it answers.
    pub job: String,
    /// The task.
    pub task: TaskId,
    /// The answer's hash: it tells apart the answers to one task.
    pub answer: ContentHash,
    /// What it took; never nothing.
    pub tokens: Tokens,
}

impl InVain {
    /// None where the answer took nothing, or nobody can read what.
    fn of(job: &str, task: TaskId, answer: &[u8]) -> Option<Self> {
        let tokens = serde_json::from_slice::<Answer>(answer).ok()?.tokens;
        let is_paid = tokens != Tokens::default();
        is_paid.then(|| Self { job: job.to_owned(), task, answer: ContentHash::of(answer), tokens })
    }
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

    /// Ids of all jobs that were deleted: their keys are here, and they are not.
    ///
    /// # Errors
    /// When reading fails.
    pub fn deleted(&self) -> Result<BTreeSet<String>, Error> {
        self.read(|transaction| {
            let jobs = transaction.open_table(JOBS)?;
            let mut deleted = BTreeSet::new();
            for entry in transaction.open_table(KEYS)?.iter()? {
                let id = entry?.1.value().to_owned();
                if jobs.get(id.as_str())?.is_none() {
                    deleted.insert(id);
                }
            }
            Ok(deleted)
        })
    }

    /// Deleted jobs whose files are to be removed by now.
    ///
    /// # Errors
    /// When reading fails.
    pub fn to_sweep(&self, now_unix_ms: u64) -> Result<Vec<String>, Error> {
        self.read(|transaction| {
            let mut ids = Vec::new();
            for entry in transaction.open_table(SWEEPS)?.iter()? {
                let (id, due) = entry?;
                if due.value() <= now_unix_ms {
                    ids.push(id.value().to_owned());
                }
            }
            Ok(ids)
        })
    }

    /// A worker may have made files of a deleted job since they were removed.
    ///
    /// # Errors
    /// When writing fails.
    pub fn sweep_again(&self, job: &str) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.open_table(SWEEPS)?.insert(job, AT_ONCE)?;
            Ok(())
        })
    }

    /// As [`Journal::sweep_again`], of all jobs that were deleted.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub fn sweep_all_again(&self) -> Result<(), Error> {
        let deleted = self.deleted()?;
        if deleted.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut sweeps = transaction.open_table(SWEEPS)?;
            for job in &deleted {
                sweeps.insert(job.as_str(), AT_ONCE)?;
            }
            Ok(())
        })
    }

    /// The files of a deleted job were removed. The first time they are to be removed once more, at
    /// `again_unix_ms`: a worker that had an item in hand may not have known yet. That stands until then, also where
    /// somebody who had waited for their turn has found nothing left to remove.
    ///
    /// # Errors
    /// When writing fails.
    pub fn swept(&self, job: &str, now_unix_ms: u64, again_unix_ms: u64) -> Result<(), Error> {
        self.write(|transaction| {
            let mut sweeps = transaction.open_table(SWEEPS)?;
            let due = sweeps.get(job)?.map(|due| due.value());
            match due {
                Some(AT_ONCE) => drop(sweeps.insert(job, again_unix_ms)?),
                Some(due) if due <= now_unix_ms => drop(sweeps.remove(job)?),
                _ => {}
            }
            Ok(())
        })
    }

    /// Items of a job that stops are to be taken back, and cannot be yet.
    ///
    /// # Errors
    /// When writing fails.
    pub fn owe_taking_back(&self, job: &str, items: &[ItemId]) -> Result<(), Error> {
        self.write(|transaction| {
            let mut owed = transaction.open_table(TAKE_BACKS)?;
            for item in items {
                owed.insert((job, item.as_str()), ())?;
            }
            Ok(())
        })
    }

    /// Items that are to be taken back, by job.
    ///
    /// # Errors
    /// When reading fails.
    pub fn to_take_back(&self) -> Result<BTreeMap<String, Vec<ItemId>>, Error> {
        self.read(|transaction| {
            let mut owed: BTreeMap<String, Vec<ItemId>> = BTreeMap::new();
            for entry in transaction.open_table(TAKE_BACKS)?.iter()? {
                let (key, _) = entry?;
                let (job, item) = key.value();
                owed.entry(job.to_owned()).or_default().push(item.into());
            }
            Ok(owed)
        })
    }

    /// All items of a job that were to be taken back are.
    ///
    /// # Errors
    /// When writing fails.
    pub fn taken_back(&self, job: &str) -> Result<(), Error> {
        self.write(|transaction| {
            let mut owed = transaction.open_table(TAKE_BACKS)?;
            owed.retain_in((job, "")..(job, "\u{10ffff}"), |_, _| false)?;
            Ok(())
        })
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

    /// Keeps account of answers of which nothing comes, and which are not recorded themselves, unless their job was
    /// deleted. Those that took something are returned. Doing it again changes nothing.
    ///
    /// # Errors
    /// When writing fails; then none is kept account of.
    pub fn record_in_vain(
        &self,
        answers: &[(String, TaskId, Vec<u8>)],
    ) -> Result<Vec<InVain>, Error> {
        let took = answers.iter().filter_map(|(job, task, answer)| InVain::of(job, *task, answer));
        let paid: Vec<InVain> = took.collect();
        if paid.is_empty() {
            return Ok(paid);
        }
        self.write(|transaction| {
            let jobs = transaction.open_table(JOBS)?;
            let mut in_vain = transaction.open_table(IN_VAIN)?;
            for answer in &paid {
                if jobs.get(answer.job.as_str())?.is_some() {
                    pay(&mut in_vain, answer)?;
                }
            }
            Ok(())
        })?;
        Ok(paid)
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

    /// Answers to tasks of a job of which nothing came, each with what it took.
    ///
    /// # Errors
    /// When reading fails.
    pub fn in_vain(&self, job: &str) -> Result<Vec<InVain>, Error> {
        let found = self.read(|transaction| {
            let table = transaction.open_table(IN_VAIN)?;
            let mut found = Vec::new();
            for entry in table.range((job, "", "")..(job, "\u{10ffff}", ""))? {
                let (key, tokens) = entry?;
                let (_, task, answer) = key.value();
                let tokens = tokens_from_bytes(tokens.value())?;
                found.push((task.to_owned(), answer.to_owned(), tokens));
            }
            Ok(found)
        })?;
        let in_vain = found.into_iter().map(|(task, answer, tokens)| {
            let unreadable = |what| Error::Unreadable { item: format!("{job}/{task}"), what };
            let answer: ContentHash = answer.parse().map_err(unreadable)?;
            Ok(InVain { job: job.to_owned(), task: read_task(job, &task)?, answer, tokens })
        });
        in_vain.collect()
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

/// Puts what an answer took on its job's account.
fn pay(
    in_vain: &mut Table<'_, (&'static str, &'static str, &'static str), &'static [u8]>,
    answer: &InVain,
) -> Result<(), redb::Error> {
    let took = serde_json::to_vec(&answer.tokens).expect("counts are plain data");
    let (job, task) = (answer.job.as_str(), answer.task.to_string());
    in_vain.insert((job, task.as_str(), answer.answer.as_str()), took.as_slice())?;
    Ok(())
}

fn tokens_from_bytes(bytes: &[u8]) -> Result<Tokens, redb::Error> {
    serde_json::from_slice(bytes).map_err(|e| redb::Error::Corrupted(e.to_string()))
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
    use rlaif_job::WorkResult;

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
    fn a_deleted_job_takes_its_results_along_and_leaves_its_key_and_what_is_to_be_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let results = |journal: &Journal, job: &str| {
            let mut count = 0;
            let add = |_, _: &[u8]| {
                count += 1;
                Ok::<_, Error>(())
            };
            journal.results(job, add).unwrap();
            count
        };
        {
            let journal = Journal::open(&path).unwrap();
            for id in ["a", "ab"] {
                journal.accept(id, &job(id)).unwrap();
            }
            let result = |job: &str, task| (job.to_owned(), task, b"done".to_vec());
            let all = [
                result("a", TaskId::Sample(0)),
                result("a", TaskId::Label(0)),
                result("ab", TaskId::Label(0)),
            ];
            journal.record(&all).unwrap();
            assert_eq!(journal.delete("a").unwrap(), 2);
            // A worker was still at it.
            journal.record(&all).unwrap();
        }
        let journal = Journal::open(&path).unwrap();
        assert_eq!((results(&journal, "a"), results(&journal, "ab")), (0, 1));
        assert_eq!(journal.jobs().unwrap(), [job("ab")]);
        assert_eq!(journal.job_of("a").unwrap(), Some("a".into()));
        assert_eq!(journal.deleted().unwrap(), ["a".to_owned()].into());

        // At once, and once more when no worker can be at it any more.
        assert_eq!(journal.to_sweep(1).unwrap(), ["a"]);
        // The call that deleted it, and who saw at the same time that its files were owed.
        for now in [1, 2] {
            journal.swept("a", now, now + 9).unwrap();
        }
        assert!(journal.to_sweep(9).unwrap().is_empty());
        assert_eq!(journal.to_sweep(10).unwrap(), ["a"]);
        journal.swept("a", 10, 19).unwrap();
        assert!(journal.to_sweep(u64::MAX).unwrap().is_empty());
        assert_eq!(journal.deleted().unwrap().len(), 1);
    }

    #[test]
    fn what_is_to_be_taken_back_outlives_a_restart_and_its_job() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path).unwrap();
        for (id, item) in [("a", "a/0"), ("a", "a/1"), ("ab", "ab/0")] {
            journal.accept(id, &job(id)).unwrap();
            journal.owe_taking_back(id, &[ItemId::from(item)]).unwrap();
        }
        journal.delete("a").unwrap();
        drop(journal);

        let journal = Journal::open(&path).unwrap();
        let of = |id: &str, items: &[&str]| {
            let items: Vec<ItemId> = items.iter().map(|item| ItemId::from(*item)).collect();
            (id.to_owned(), items)
        };
        let owed = [of("a", &["a/0", "a/1"]), of("ab", &["ab/0"])];
        assert_eq!(journal.to_take_back().unwrap(), owed.into());
        journal.taken_back("a").unwrap();
        assert_eq!(journal.to_take_back().unwrap(), [of("ab", &["ab/0"])].into());
    }

    /// An answer to a task of job "a" that took so many tokens.
    fn answer(task: TaskId, read: usize) -> (String, TaskId, Vec<u8>) {
        let (result, tokens) = (WorkResult::Labels(Vec::new()), Tokens::read(read));
        let answer = Answer { result, seconds: 0.5, worker: "w".to_owned(), tokens };
        ("a".to_owned(), task, serde_json::to_vec(&answer).unwrap())
    }

    /// What was paid for a job's answers of which nothing came.
    fn paid(journal: &Journal, job: &str) -> BTreeSet<(TaskId, u64)> {
        let in_vain = journal.in_vain(job).unwrap().into_iter();
        in_vain.map(|answer| (answer.task, answer.tokens.read)).collect()
    }

    #[test]
    fn another_answer_to_an_answered_task_is_paid_once_and_the_first_once_more_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let (label, check) = (TaskId::Label(0), TaskId::CheckLabeler);
        let journal = Journal::open(&path).unwrap();
        journal.accept("a", &job("a")).unwrap();
        let others = |journal: &Journal, came: &[(String, TaskId, Vec<u8>)]| {
            let others = journal.record(came).unwrap().into_iter();
            others.map(|answer| (answer.task, answer.tokens.read)).collect::<Vec<_>>()
        };
        let together = [answer(label, 30), answer(label, 12), answer(check, 5)];
        assert_eq!(others(&journal, &together), [(label, 12)]);
        assert!(others(&journal, &[answer(label, 0)]).is_empty(), "it took nothing");
        drop(journal);
        // As when a kill came between the journal and the acknowledgement.
        let journal = Journal::open(&path).unwrap();
        assert_eq!(others(&journal, &together), [(label, 12)]);
        assert_eq!(paid(&journal, "a"), [(label, 12)].into());
        journal.delete("a").unwrap();
        assert!(others(&journal, &together).is_empty());
    }

    #[test]
    fn what_came_to_nothing_is_paid_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let (label, check) = (TaskId::Label(0), TaskId::CheckLabeler);
        let journal = Journal::open(&path).unwrap();
        journal.accept("a", &job("a")).unwrap();
        for read in [30, 12] {
            journal.record(&[answer(check, 5), answer(label, read)]).unwrap();
            journal.forget("a", |task| task == label).unwrap();
        }
        // As when it comes once more, since a queue was away before it was acknowledged.
        for _ in 0..2 {
            journal.record_in_vain(&[answer(check, 7), answer(check, 0)]).unwrap();
        }
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(paid(&journal, "a"), [(label, 30), (label, 12), (check, 7)].into());
        assert_eq!(paid(&journal, "b"), [].into());
        journal.delete("a").unwrap();
        journal.record_in_vain(&[answer(check, 8)]).unwrap();
        assert_eq!(paid(&journal, "a"), [].into());
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
