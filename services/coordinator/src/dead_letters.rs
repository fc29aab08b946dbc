//! Items that were given up: kept in their queue, with the job failed, until an operator has mended
//! what made them fail and puts them back.

use crate::coordinator::Shared;
use crate::take_in::split;
use crate::{Coordinator, Error, JobState};
use rlaif_job::{TaskId, WorkerKind};
use rlaif_queue::{DeadLetter, ItemId, Position};
use std::fmt;
use std::str::FromStr;

/// Dead letters read at once from a queue, which holds those of all jobs.
const PAGE: usize = 256;

/// A task that was given up.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadItem {
    /// Which.
    pub task: TaskId,
    /// How it died.
    pub letter: DeadLetter,
    /// Where a listing goes on after it.
    pub cursor: DeadItemCursor,
}

/// A place in the listing of a job's dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadItemCursor {
    /// Index of the queue among [`WorkerKind::ALL`].
    queue: usize,
    after: Position,
}

impl DeadItemCursor {
    /// Before the first.
    pub const START: Self = Self { queue: 0, after: Position::START };
}

impl fmt::Display for DeadItemCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.queue, self.after)
    }
}

impl FromStr for DeadItemCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('.').and_then(|(queue, after)| {
            Some(Self { queue: queue.parse().ok()?, after: after.parse().ok()? })
        });
        parts.ok_or_else(|| format!("{text:?} is not a place in a list of dead letters"))
    }
}

impl Shared {
    /// Up to `max` of a job's dead letters after a place, oldest first within each queue.
    ///
    /// # Errors
    /// When a queue is away.
    pub(crate) async fn dead_letters(
        &self,
        job: &str,
        from: DeadItemCursor,
        max: usize,
    ) -> Result<Vec<DeadItem>, Error> {
        let mut found = Vec::new();
        for (queue, kind) in WorkerKind::ALL.into_iter().enumerate().skip(from.queue) {
            let mut after = if queue == from.queue { from.after } else { Position::START };
            loop {
                let page = self.queues.of(kind).dead_letters(after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.position;
                for letter in page {
                    let Some((_, task)) = split(&letter.item.id).filter(|(of, _)| of == job) else {
                        continue;
                    };
                    let cursor = DeadItemCursor { queue, after: letter.position };
                    found.push(DeadItem { task, letter, cursor });
                    if found.len() == max {
                        return Ok(found);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Removes a job's dead letters from the queues; how many there were.
    ///
    /// # Errors
    /// When a queue is away: then some may be left.
    pub(crate) async fn drop_dead_letters(&self, job: &str) -> Result<usize, Error> {
        let dead = self.dead_letters(job, DeadItemCursor::START, usize::MAX).await?;
        let ids: Vec<ItemId> = dead.into_iter().map(|item| item.letter.item.id).collect();
        let mut dropped = 0;
        for (_, queue) in self.queues.each() {
            dropped += queue.discard(&ids).await?;
        }
        Ok(dropped)
    }
}

impl Coordinator {
    /// Up to `max` of a job's dead letters after a place, oldest first within each queue.
    ///
    /// # Errors
    /// When there is no such job, or a queue is away.
    pub async fn dead_letters(
        &self,
        job: &str,
        from: DeadItemCursor,
        max: usize,
    ) -> Result<Vec<DeadItem>, Error> {
        self.job(job)?;
        self.shared.dead_letters(job, from, max).await
    }

    pub(crate) async fn has_dead_letters(&self, job: &str) -> Result<bool, Error> {
        Ok(!self.dead_letters(job, DeadItemCursor::START, 1).await?.is_empty())
    }

    /// Puts the dead letters of these tasks back to work, or all; how many there were. A job that
    /// failed for its letters goes on once it has none left; one that is paused has theirs handed out
    /// anew when it is resumed.
    ///
    /// # Errors
    /// When there is no such job, it was cancelled or has succeeded, or a queue is away.
    pub async fn requeue(&self, job: &str, tasks: Option<&[TaskId]>) -> Result<usize, Error> {
        let (coordinator, job) = (self.clone(), job.to_owned());
        let tasks = tasks.map(<[TaskId]>::to_vec);
        let requeuing = async move { coordinator.requeue_in_turn(&job, tasks.as_deref()).await };
        self.in_turn(requeuing).await
    }

    async fn requeue_in_turn(&self, job: &str, tasks: Option<&[TaskId]>) -> Result<usize, Error> {
        let record = self.job(job)?;
        let is_paused = match record.state {
            JobState::Running | JobState::Failed { .. } => false,
            JobState::Paused => true,
            JobState::Cancelled | JobState::Succeeded => {
                return Err(Error::wrong_state(&record, "nothing of it is worked on any more"));
            }
        };
        // A job has no more dead letters than items in the queues, which its machine bounds.
        let dead = self.dead_letters(job, DeadItemCursor::START, usize::MAX).await?;
        let wanted = |task: TaskId| tasks.is_none_or(|tasks| tasks.contains(&task));
        let (back, left): (Vec<_>, Vec<_>) = dead.into_iter().partition(|item| wanted(item.task));
        let tasks: Vec<TaskId> = back.iter().map(|item| item.task).collect();
        let ids: Vec<ItemId> = back.into_iter().map(|item| item.letter.item.id).collect();
        let mut requeued = 0;
        for (_, queue) in self.shared.queues.each() {
            requeued += match is_paused {
                // As items of their own they would be worked on at once.
                true => queue.discard(&ids).await?,
                false => queue.requeue(&ids).await?,
            };
        }
        let failed = matches!(record.state, JobState::Failed { .. });
        // The letters may have been put back before, and the job not gone on: a queue went away.
        let had_letters = requeued > 0 || !record.dead.is_empty();
        if failed && had_letters && left.is_empty() {
            self.resume_in_turn(job).await?;
        } else {
            self.shared.board.without_dead(job, Some(&tasks))?;
        }
        Ok(requeued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_writing() {
        let place = DeadItemCursor { queue: 2, after: "17-4".parse().unwrap() };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!("2/17".parse::<DeadItemCursor>().is_err());
    }
}
