//! Deleting a job that has ended, for good.
//!
//! One transaction of the journal decides. Before it the job is as it was; after it there is none, and its
//! files are owed to be swept: by the call, or later by whoever coordinates then. No other job is touched:
//! run folder and artifacts lie under the job's own id, which is never given again, since its submission key
//! stays used. So what a worker still has of it is nobody else's either, and is thrown away when it comes.

use crate::coordinator::{Shared, outcome_of, unix_ms};
use crate::{Coordinator, Error, JobState};
use rlaif_artifacts::Removed;
use rlaif_job::Job;
use std::time::Duration;

/// How often what is owed to be swept is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often that pause is doubled while files cannot be removed: to about a minute.
const MAX_DOUBLINGS: u32 = 5;
/// When files are removed once more. A job may be deleted as soon as it is cancelled, and a worker that has an item
/// of it in hand hears of that with its next heartbeat, stops after its next step, and may store something before.
/// No time bounds a step, or how long a worker cannot reach Redis: what is stored later than this lies until the next
/// coordinator starts, which removes once more what there is of any job that was deleted.
const ONCE_MORE_MS: u64 = 10 * 60 * 1000;

/// What went with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// Results in the journal.
    pub results: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Files of the run folder and artifacts, as far as they are gone.
    pub removed: Removed,
    /// No file is left. Else the artifact store or the disk failed, and the rest goes once it is back.
    pub is_swept: bool,
}

impl Coordinator {
    /// Deletes a job that has ended, with its journal, dead letters, run folder and artifacts.
    ///
    /// # Errors
    /// When there is no such job, it may still go on, another needs its models, or a queue or the
    /// artifact store is away: then it is as it was, but perhaps without some of its dead letters.
    pub async fn delete(&self, id: &str) -> Result<Deleted, Error> {
        let shared = &self.shared;
        // Before the files are owed, so that nobody else sweeps them and what went can be told.
        let _sweeping = shared.sweeping.lock().await;
        let (coordinator, job) = (self.clone(), id.to_owned());
        let deciding = async move { coordinator.delete_in_turn(&job).await };
        let (results, dead_letters) = self.in_turn(deciding).await?;
        let (removed, is_swept) = match shared.sweep(id).await {
            Ok(removed) => (removed, true),
            Err(error @ Error::Journal { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(job = id, %error, "files of a deleted job are left; trying again");
                (Removed::default(), false)
            }
        };
        tracing::info!(job = id, files = removed.files, bytes = removed.bytes, "a job was deleted");
        Ok(Deleted { results, dead_letters, removed, is_swept })
    }

    /// How many results and dead letters there were. The files are still to be swept.
    async fn delete_in_turn(&self, id: &str) -> Result<(u64, u64), Error> {
        let (shared, record) = (self.shared.clone(), self.job(id)?);
        match record.state {
            JobState::Running | JobState::Paused => {
                return Err(Error::wrong_state(&record, "cancel it first"));
            }
            JobState::Cancelled | JobState::Failed { .. } | JobState::Succeeded => {}
        }
        shared.refuse_where_needed(id)?;
        // Files that cannot be reached are not left behind knowingly.
        shared.artifacts.probe().await?;
        let dead_letters = shared.drop_dead_letters(id).await?;
        // Thousands of results may go, and there are few threads that answer calls.
        let id = id.to_owned();
        let removing = tokio::task::spawn_blocking(move || shared.board.remove(&id));
        Ok((outcome_of(removing).await?, dead_letters as u64))
    }
}

impl Shared {
    /// Refuses where a job that may still go on, as a failed one may, names a model of this one.
    fn refuse_where_needed(&self, id: &str) -> Result<(), Error> {
        let is_over = |state: &JobState| matches!(state, JobState::Cancelled | JobState::Succeeded);
        for other in self.board.list() {
            if other.id == id || is_over(&other.state) {
                continue;
            }
            // One that cannot be read cannot go on either.
            let file = self.places.run_folder(&other.id).path("job.toml");
            let Ok(job) = Job::parse(&file) else { continue };
            // Artifacts of a local store are found by path.
            if let Some(model) = job.models().find(|model| model.split('/').any(|part| part == id))
            {
                let (id, model) = (id.to_owned(), model.clone());
                return Err(Error::Needed { id, by: other.id, model });
            }
        }
        Ok(())
    }

    /// Removes the files of a deleted job, wherever that was left off; the caller holds `sweeping`.
    ///
    /// # Errors
    /// When the artifact store is away, the disk fails, or the journal does: then they are still owed.
    async fn sweep(&self, id: &str) -> Result<Removed, Error> {
        // A store that is gone looks as if there were nothing. So does a mount point without its share, which has to be
        // emptied by hand then.
        self.artifacts.probe().await?;
        let artifacts = self.artifacts.remove_job(id).await?;
        let (places, journal, id) = (self.places.clone(), self.journal.clone(), id.to_owned());
        let sweeping = tokio::task::spawn_blocking(move || {
            let folder = places.remove(&id)?;
            let now = unix_ms();
            journal.swept(&id, now, now.saturating_add(ONCE_MORE_MS))?;
            Ok::<_, Error>(folder)
        });
        let folder = outcome_of(sweeping).await?;
        Ok(Removed { files: artifacts.files + folder.files, bytes: artifacts.bytes + folder.bytes })
    }

    /// Removes, for ever, files of deleted jobs that are left: after a restart in the middle or a failure of
    /// store or disk, and those that a worker made late. That it fails is told once, and that it does no more.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn sweep_what_is_left(&self) -> Result<(), Error> {
        self.journal.sweep_all_again()?;
        let mut rounds = Rounds::default();
        loop {
            let trouble = self.sweep_what_is_due().await?;
            let (is_news, pause) = rounds.ended(trouble.is_none());
            match trouble {
                Some(error) if is_news => {
                    tracing::warn!(%error, "files of deleted jobs are left; trying again");
                }
                None if is_news => tracing::info!("files of deleted jobs are removed again"),
                _ => {}
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What kept files from being removed, if anything did: the first of it.
    ///
    /// # Errors
    /// When the journal fails.
    async fn sweep_what_is_due(&self) -> Result<Option<Error>, Error> {
        let due = self.journal.to_sweep(unix_ms())?;
        // A store that is away is not asked for each job.
        if !due.is_empty()
            && let Err(error) = self.artifacts.probe().await
        {
            return Ok(Some(error.into()));
        }
        let mut trouble = None;
        for id in due {
            let _sweeping = self.sweeping.lock().await;
            match self.sweep(&id).await {
                Ok(_) => {}
                Err(error @ Error::Journal { .. }) => return Err(error),
                Err(error) => {
                    trouble.get_or_insert(error);
                }
            }
        }
        Ok(trouble)
    }
}

/// Rounds of sweeping, and how many have failed since the last that went well.
#[derive(Default)]
struct Rounds {
    failed: u32,
}

impl Rounds {
    /// Whether the round ended otherwise than the one before, and how long to wait for the next.
    fn ended(&mut self, well: bool) -> (bool, Duration) {
        let was_well = self.failed == 0;
        self.failed = if well { 0 } else { self.failed.saturating_add(1) };
        (well != was_well, LOOK_EVERY * (1_u32 << self.failed.min(MAX_DOUBLINGS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_is_tried_ever_more_seldom_and_its_end_is_news() {
        let mut rounds = Rounds::default();
        let rounds = [true, false, false, false, false, false, false, true, true]
            .map(|well| rounds.ended(well))
            .map(|(is_news, pause)| (is_news, pause.as_secs()));
        let expected = [
            (false, 2),
            (true, 4),
            (false, 8),
            (false, 16),
            (false, 32),
            (false, 64),
            (false, 64),
            (true, 2),
            (false, 2),
        ];
        assert_eq!(rounds, expected);
    }
}
