//! Which items are still to be taken back from a queue that was away.

use super::Journal;
use crate::Error;
use redb::{ReadableTable, TableDefinition};
use rlaif_queue::ItemId;
use std::collections::BTreeMap;

/// Items, by job and id, that are to be taken back from a queue that was away when their job stopped. They
/// outlive the job where it is deleted.
pub(super) const TAKE_BACKS: TableDefinition<(&str, &str), ()> =
    TableDefinition::new("to take back");

impl Journal {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobRecord;

    #[test]
    fn what_is_to_be_taken_back_outlives_a_restart_and_its_job() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path).unwrap();
        for (id, item) in [("a", "a/0"), ("a", "a/1"), ("ab", "ab/0")] {
            journal.accept(id, &JobRecord::accepted(id, "tiny", 1)).unwrap();
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
}
