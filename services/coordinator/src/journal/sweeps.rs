//! Which deleted jobs' files are still to be removed.

use super::{JOBS, Journal, KEYS};
use crate::Error;
use redb::{ReadableTable, TableDefinition};
use std::collections::BTreeSet;

/// Deleted jobs of which files may be left, with when they are to be removed, in milliseconds since 1970.
pub(super) const SWEEPS: TableDefinition<&str, u64> = TableDefinition::new("sweeps");
/// When files are to be removed that never were yet.
pub(super) const AT_ONCE: u64 = 0;

impl Journal {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobRecord;
    use rlaif_job::TaskId;

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
                journal.accept(id, &JobRecord::accepted(id, "tiny", 1)).unwrap();
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
        assert_eq!(journal.jobs().unwrap(), [JobRecord::accepted("ab", "tiny", 1)]);
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
}
