//! Answers to single prompts, such as one order of a pair. They are kept from when they come: a pair whose other
//! order fails, or whose process is killed, does not pay for them again, nor does another label of the same
//! answers, by another clamp say.

use crate::read::count;
use crate::write::{integer, setup};
use crate::{Error, Ledger, Reader, Setup};
use rlaif_types::{ContentHash, Money, Usage};
use rusqlite::{Connection, OptionalExtension, Result as Rows, params};

/// An answer to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The answer, as its keeper wrote it.
    pub reading: String,
    /// What it took.
    pub usage: Usage,
    /// What that cost.
    pub cost: Money,
    /// Calls that it took.
    pub attempts: u32,
    /// Whether an attempt on record has that among what it took.
    pub accounted: bool,
}

impl Ledger {
    /// Keeps answers to questions that were asked as `asked` says. They outlive a kill of the process; a power
    /// cut may take the last of them, which a label on record survives.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn keep(&mut self, asked: &Setup, readings: &[(ContentHash, Kept)]) -> Result<(), Error> {
        if readings.is_empty() {
            return Ok(());
        }
        let Reader { connection, path } = self.writer();
        let write = |connection: &mut Connection| -> Rows<()> {
            // The log is written, not waited for: answers come by the hundred a second.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction = connection.transaction()?;
            let setup = setup(&transaction, asked)?;
            for (id, kept) in readings {
                insert(&transaction, id, kept, setup)?;
            }
            transaction.commit()
        };
        let written = write(connection);
        let restored = connection.pragma_update(None, "synchronous", "FULL");
        written.and(restored).map_err(Error::sqlite(path))
    }

    /// The answers that are kept, in the order of `ids`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn recall(&self, ids: &[ContentHash]) -> Result<Vec<Option<Kept>>, Error> {
        let Reader { connection, path } = self.reader();
        let read = || -> Rows<Vec<Option<Kept>>> {
            let mut find = connection.prepare_cached(
                "SELECT reading, prompt_tokens, cached_tokens, completion_tokens, attempts, accounted,
                        cost
                 FROM readings WHERE id = ?1",
            )?;
            let kept = |row: &rusqlite::Row<'_>| {
                Ok(Kept {
                    reading: row.get(0)?,
                    usage: Usage {
                        prompt_tokens: count(row, "prompt_tokens")?,
                        cached_tokens: count(row, "cached_tokens")?,
                        completion_tokens: count(row, "completion_tokens")?,
                        device_ms: 0,
                    },
                    cost: Money::from_picodollars(count(row, "cost")?),
                    attempts: row.get(4)?,
                    accounted: row.get(5)?,
                })
            };
            ids.iter().map(|id| find.query_row([id.as_str()], kept).optional()).collect()
        };
        read().map_err(Error::sqlite(path))
    }
}

fn insert(db: &Connection, id: &ContentHash, kept: &Kept, setup: i64) -> Rows<()> {
    db.prepare_cached(
        "INSERT INTO readings
         (id, reading, prompt_tokens, cached_tokens, completion_tokens, attempts, accounted, cost, setup)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        id.as_str(),
        kept.reading,
        integer(kept.usage.prompt_tokens),
        integer(kept.usage.cached_tokens),
        integer(kept.usage.completion_tokens),
        kept.attempts,
        kept.accounted,
        integer(kept.cost.picodollars()),
        setup,
    ])?;
    Ok(())
}

/// What the readings of a question took is among the attempts from now on.
pub(crate) fn settle(db: &Connection, readings: &[ContentHash]) -> Rows<()> {
    let mut settle = db.prepare_cached("UPDATE readings SET accounted = 1 WHERE id = ?1")?;
    readings.iter().try_for_each(|id| settle.execute([id.as_str()]).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spending;
    use crate::write::tests::entries;
    use rlaif_types::{Spend, Unscorable, UnscorableReason};

    fn half(tokens: u64) -> Kept {
        let usage = Usage { prompt_tokens: tokens, ..Usage::default() };
        let cost = Money::from_picodollars(10 * tokens);
        Kept { reading: "{}".into(), usage, cost, attempts: 1, accounted: false }
    }

    fn ledger(folder: &tempfile::TempDir) -> Ledger {
        Ledger::open(folder.path().join("l.sqlite")).unwrap()
    }

    fn spent(ledger: &Ledger) -> Spend {
        Spending::total(&ledger.reader().spent().unwrap())
    }

    #[test]
    fn an_answer_is_spent_on_before_its_question_is_and_once_in_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder);
        let entry = entries(0..1).remove(0);
        let ids = ["first order", "second order"].map(ContentHash::of);
        let halves = [(ids[0].clone(), half(120)), (ids[1].clone(), half(80))];
        ledger.keep(&entry.setup, &halves).unwrap();
        // The process is killed before any attempt is on record.
        let cost = Money::from_picodollars(2000);
        assert_eq!(spent(&ledger), Spend { cost, tokens: 200 });
        let [on_its_way] = &ledger.reader().spent().unwrap()[..] else { panic!("one setup") };
        assert_eq!((on_its_way.labels, on_its_way.unsettled), (0, 2));
        assert_eq!((&*on_its_way.model, &*on_its_way.template), ("model", "helpful/base"));
        // The next run makes the label of them, whose attempt has what they took.
        let entry = crate::Entry { cost, ..entry };
        ledger.record_with(&[entry], &[ids.to_vec()]).unwrap();
        assert_eq!(spent(&ledger), Spend { cost, tokens: 200 });
        let [settled] = &ledger.reader().spent().unwrap()[..] else { panic!("one setup") };
        assert_eq!((settled.labels, settled.unsettled), (1, 0));
    }

    #[test]
    fn an_answer_that_an_earlier_version_kept_counts_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder);
        let insert = "INSERT INTO readings
            (id, reading, prompt_tokens, cached_tokens, completion_tokens, attempts)
            VALUES ('an id', '{}', 7, 0, 1, 1)";
        ledger.writer().connection.execute(insert, []).unwrap();
        assert_eq!(spent(&ledger).tokens, 8);
    }

    #[test]
    fn a_half_stays_for_other_labels_and_is_accounted_for_with_the_first_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder);
        let setup = entries(0..1).remove(0).setup;
        let ids = ["first order", "second order"].map(ContentHash::of);
        ledger.keep(&setup, &[(ids[0].clone(), half(3))]).unwrap();
        // Whoever comes second with the same answer changes nothing.
        let again = [(ids[0].clone(), half(99)), (ids[1].clone(), half(4))];
        ledger.keep(&setup, &again).unwrap();
        assert_eq!(ledger.recall(&ids).unwrap(), [Some(half(3)), Some(half(4))]);

        let failure = Unscorable::new(UnscorableReason::EngineFailed, "500");
        let failed = crate::Entry { outcome: Err(failure), ..entries(0..1).remove(0) };
        ledger.record_with(&[failed], &[vec![ids[0].clone()]]).unwrap();
        let accounted = Kept { accounted: true, ..half(3) };
        assert_eq!(ledger.recall(&ids).unwrap(), [Some(accounted), Some(half(4))]);

        ledger.record_with(&entries(0..1), &[ids.to_vec()]).unwrap();
        let accounted = |tokens| Some(Kept { accounted: true, ..half(tokens) });
        assert_eq!(ledger.recall(&ids).unwrap(), [accounted(3), accounted(4)]);
    }
}
