//! Answers to single prompts, such as one order of a pair, from when they come until their question has its
//! label. A pair whose other order fails, or whose process is killed, does not pay for them again.

use crate::read::count;
use crate::write::integer;
use crate::{Error, Ledger, Reader};
use rlaif_types::{ContentHash, Usage};
use rusqlite::{Connection, OptionalExtension, Result as Rows, params};

/// An answer to one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The answer, as its keeper wrote it.
    pub reading: String,
    /// What it took.
    pub usage: Usage,
    /// Calls that it took.
    pub attempts: u32,
    /// Whether an attempt on record has that among what it took.
    pub accounted: bool,
}

impl Ledger {
    /// Keeps answers. They outlive a kill of the process; a power cut may take the last of them, which a label
    /// on record survives.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub fn keep(&mut self, readings: &[(ContentHash, Kept)]) -> Result<(), Error> {
        let Reader { connection, path } = self.writer();
        let write = |connection: &mut Connection| -> Rows<()> {
            // The log is written, not waited for: answers come by the hundred a second.
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            let transaction = connection.transaction()?;
            for (id, kept) in readings {
                insert(&transaction, id, kept)?;
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
                "SELECT reading, prompt_tokens, cached_tokens, completion_tokens, attempts, accounted
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
                    attempts: row.get(4)?,
                    accounted: row.get(5)?,
                })
            };
            ids.iter().map(|id| find.query_row([id.as_str()], kept).optional()).collect()
        };
        read().map_err(Error::sqlite(path))
    }
}

fn insert(db: &Connection, id: &ContentHash, kept: &Kept) -> Rows<()> {
    db.prepare_cached(
        "INSERT INTO readings
         (id, reading, prompt_tokens, cached_tokens, completion_tokens, attempts, accounted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        id.as_str(),
        kept.reading,
        integer(kept.usage.prompt_tokens),
        integer(kept.usage.cached_tokens),
        integer(kept.usage.completion_tokens),
        kept.attempts,
        kept.accounted,
    ])?;
    Ok(())
}

/// What becomes of the readings of a question that has its label now, or that has failed.
pub(crate) fn settle(db: &Connection, readings: &[ContentHash], has_label: bool) -> Rows<()> {
    let mut settle = db.prepare_cached(match has_label {
        true => "DELETE FROM readings WHERE id = ?1",
        false => "UPDATE readings SET accounted = 1 WHERE id = ?1",
    })?;
    readings.iter().try_for_each(|id| settle.execute([id.as_str()]).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::entries;
    use rlaif_types::{Unscorable, UnscorableReason};

    fn half(tokens: u64) -> Kept {
        let usage = Usage { prompt_tokens: tokens, ..Usage::default() };
        Kept { reading: "{}".into(), usage, attempts: 1, accounted: false }
    }

    #[test]
    fn a_half_stays_until_its_question_has_a_label_and_is_accounted_for_with_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("l.sqlite")).unwrap();
        let ids = ["first order", "second order"].map(ContentHash::of);
        ledger.keep(&[(ids[0].clone(), half(3))]).unwrap();
        // Whoever comes second with the same answer changes nothing.
        ledger.keep(&[(ids[0].clone(), half(99)), (ids[1].clone(), half(4))]).unwrap();
        assert_eq!(ledger.recall(&ids).unwrap(), [Some(half(3)), Some(half(4))]);

        let failure = Unscorable::new(UnscorableReason::EngineFailed, "500");
        let failed = crate::Entry { outcome: Err(failure), ..entries(0..1).remove(0) };
        ledger.record_with(&[failed], &[vec![ids[0].clone()]]).unwrap();
        let accounted = Kept { accounted: true, ..half(3) };
        assert_eq!(ledger.recall(&ids).unwrap(), [Some(accounted), Some(half(4))]);

        ledger.record_with(&entries(0..1), &[ids.to_vec()]).unwrap();
        assert_eq!(ledger.recall(&ids).unwrap(), [None, None]);
    }
}
