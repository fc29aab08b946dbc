//! The account of answers that were paid and came to nothing.

use super::{JOBS, Journal, read_task};
use crate::Error;
use redb::{ReadableTable, Table, TableDefinition};
use rlaif_job::{Answer, TaskId, Tokens};
use rlaif_types::ContentHash;

/// Tokens that answers took of which nothing came, by job, task and the answer's hash: they are paid all the same.
pub(super) const IN_VAIN: TableDefinition<(&str, &str, &str), &[u8]> =
    TableDefinition::new("paid in vain");

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
    pub(super) fn of(job: &str, task: TaskId, answer: &[u8]) -> Option<Self> {
        let tokens = serde_json::from_slice::<Answer>(answer).ok()?.tokens;
        let is_paid = tokens != Tokens::default();
        is_paid.then(|| Self { job: job.to_owned(), task, answer: ContentHash::of(answer), tokens })
    }
}

impl Journal {
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
}

/// Puts what an answer took on its job's account.
pub(super) fn pay(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobRecord;
    use rlaif_job::WorkResult;
    use std::collections::BTreeSet;

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
        journal.accept("a", &JobRecord::accepted("a", "tiny", 1)).unwrap();
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
        journal.accept("a", &JobRecord::accepted("a", "tiny", 1)).unwrap();
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
}
