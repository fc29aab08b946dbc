//! From the queues' results to the journal, and from there to the jobs.

use crate::active_job::forget_the_fruitless;
use crate::coordinator::Shared;
use crate::hand_out::Occasion;
use crate::journal::{InVain, read_answer};
use crate::metrics::Settled;
use crate::{DeadItemCursor, Error, What};
use bytes::Bytes;
use rlaif_artifacts::Payload;
use rlaif_job::{Answer, StageProgress, TaskId, WorkResult, WorkerKind};
use rlaif_queue::{ItemId, Outcome, Position, ResultEntry};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Results taken in together: one fsync for all of them.
const RESULT_BATCH: usize = 64;
/// Pause before a queue that failed is asked again; the queue itself has been patient before.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long all results wait for one that an artifact store does not give although it is there. Then its job
/// fails alone.
const ONE_ARTIFACT_PATIENCE: Duration = Duration::from_secs(10);

/// What a batch of results says.
#[derive(Default)]
struct Batch {
    answers: Vec<(String, TaskId, Bytes, Answer)>,
    /// Items that were given up, by job.
    deaths: BTreeMap<String, Vec<(TaskId, String)>>,
    /// Jobs with a result that nobody can read, and why.
    unreadable: BTreeMap<String, String>,
}

impl Shared {
    /// Takes in one kind's results until `shutdown`.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn take_in_results(
        &self,
        kind: WorkerKind,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let (mut after, mut in_vain_since): (_, Option<Instant>) = (Position::START, None);
        loop {
            let is_patient = in_vain_since.is_none_or(|at| at.elapsed() < ONE_ARTIFACT_PATIENCE)
                || self.artifacts.probe().await.is_err();
            let taken = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                taken = self.take_in_some(kind, &mut after, is_patient) => taken,
            };
            match taken {
                Ok(()) => {
                    in_vain_since = None;
                    self.standing.took_in(kind);
                }
                Err(error) if error.is_passing() => {
                    self.standing.cannot_take_in(kind, &error);
                    if error.is_store_away() {
                        in_vain_since.get_or_insert_with(Instant::now);
                    }
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn take_in_some(
        &self,
        kind: WorkerKind,
        after: &mut Position,
        is_patient: bool,
    ) -> Result<(), Error> {
        let queue = self.queues.of(kind);
        let entries = queue.results(*after, RESULT_BATCH, Duration::from_secs(1)).await?;
        let Some(position) = entries.last().map(|last| last.position) else { return Ok(()) };
        self.take_in(kind, entries, is_patient).await?;
        queue.acknowledge(position).await?;
        *after = position;
        Ok(())
    }

    /// Records results, then lets them take effect. Doing it again changes nothing.
    async fn take_in(
        &self,
        kind: WorkerKind,
        entries: Vec<ResultEntry>,
        is_patient: bool,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        for entry in entries {
            self.read(entry, &mut batch, is_patient).await?;
        }
        let (mut lasting, mut useless) = (Vec::new(), Vec::new());
        for (job, task, bytes, answer) in &batch.answers {
            let answered = (job.clone(), *task, bytes.to_vec());
            match self.lasts(job, *task, &answer.result).await {
                true => lasting.push(answered),
                false => useless.push(answered),
            }
        }
        let mut in_vain = self.journal.record(&lasting)?;
        in_vain.extend(self.journal.record_in_vain(&useless)?);
        for answer in in_vain {
            self.pay_in_vain(answer).await;
        }
        for (job, task, _, answer) in batch.answers {
            self.metrics.settled(kind, Settled::with(&answer.result));
            self.tally.note(kind, &answer);
            self.apply(&job, task, answer).await?;
        }
        for (job, error) in batch.unreadable {
            self.fail(&job, &error).await?;
        }
        for (job, deaths) in batch.deaths {
            deaths.iter().for_each(|_| self.metrics.settled(kind, Settled::Dead));
            self.fail_for_the_dead(&job, deaths).await?;
        }
        Ok(())
    }

    /// Whether a result is to be recorded, as far as that is known: of a job that nobody works on it is judged when
    /// the job is opened.
    async fn lasts(&self, job: &str, task: TaskId, result: &WorkResult) -> bool {
        let may_last = !matches!(result, WorkResult::Impossible(_));
        let Some(seat) = self.seat(job) else { return may_last };
        let seated = seat.lock().await;
        seated.as_ref().map_or(may_last, |job| job.lasts(task, result))
    }

    /// Puts what came to nothing on its job's account. A job that nobody works on reads it in the journal when it
    /// is opened.
    async fn pay_in_vain(&self, answer: InVain) {
        let Some(seat) = self.seat(&answer.job) else { return };
        let mut seated = seat.lock().await;
        let Some(job) = seated.as_mut() else { return };
        job.pay_in_vain(answer);
        self.board.set_used(&job.record.id, job.used());
    }

    /// Fails a job whose items were given up. A death may be told again after its letter was put
    /// back: then the item is at work, and its death is history.
    async fn fail_for_the_dead(
        &self,
        job: &str,
        mut deaths: Vec<(TaskId, String)>,
    ) -> Result<(), Error> {
        // Letters are put back in turn, so none is between the look and the failure.
        let _turn = self.steering.lock().await;
        if self.board.was_deleted(job) {
            // Nobody could see the letter any more, or put it back.
            return self.drop_dead_letters(job).await.map(drop);
        }
        let letters = self.dead_letters(job, DeadItemCursor::START, usize::MAX).await?;
        deaths.retain(|(task, _)| letters.iter().any(|letter| letter.task == *task));
        if deaths.is_empty() {
            return Ok(());
        }
        let error: Vec<&str> = deaths.iter().map(|(_, error)| error.as_str()).collect();
        let dead: Vec<TaskId> = deaths.iter().map(|(task, _)| *task).collect();
        self.board.add_dead(job, &dead);
        self.fail(job, &error.join("; ")).await
    }

    async fn read(
        &self,
        entry: ResultEntry,
        batch: &mut Batch,
        is_patient: bool,
    ) -> Result<(), Error> {
        let ResultEntry { item, outcome, .. } = entry;
        let ours = |job: &str| self.board.was_deleted(job) || self.board.job(job).is_ok();
        let Some((job, task)) = split(&item).filter(|(job, _)| ours(job)) else {
            tracing::error!(%item, "a result of an item this coordinator did not make");
            return Ok(());
        };
        if self.board.was_deleted(&job) {
            if !matches!(outcome, Outcome::Progress(_)) {
                // Who worked on it may have left artifacts.
                self.journal.sweep_again(&job)?;
            }
            // A death has left a letter.
            if !matches!(outcome, Outcome::Dead(_)) {
                return Ok(());
            }
        }
        match outcome {
            Outcome::Done { payload, .. } => match self.unpack(&job, task, &payload).await {
                Ok((bytes, answer)) => batch.answers.push((job, task, bytes, answer)),
                Err(error) if error.is_passing() && is_patient => return Err(error),
                Err(error) => {
                    let error = format!("{task}: its result cannot be read: {error}");
                    batch.unreadable.insert(job, error);
                }
            },
            Outcome::Dead(death) => {
                let starts = death.attempts.len();
                let error = format!("{task}: given up after {starts} starts: {}", death.error);
                batch.deaths.entry(job).or_default().push((task, error));
            }
            Outcome::Progress(payload) => {
                if let Ok(progress) = serde_json::from_slice::<StageProgress>(&payload) {
                    self.board.happened(&job, What::Progress(progress));
                }
            }
        }
        Ok(())
    }

    async fn unpack(
        &self,
        job: &str,
        task: TaskId,
        payload: &[u8],
    ) -> Result<(Bytes, Answer), Error> {
        let artifacts = self.artifacts.job(job)?;
        let bytes = Payload::from_wire(payload)?.message(&artifacts).await?;
        let answer = read_answer(job, task, &bytes)?;
        Ok((bytes, answer))
    }

    async fn apply(&self, id: &str, task: TaskId, answer: Answer) -> Result<(), Error> {
        // A job that was paused or has failed reads the journal when it is resumed.
        let Some(seat) = self.seat(id) else { return Ok(()) };
        let mut seated = seat.lock().await;
        let Some(job) = seated.as_mut() else { return Ok(()) };
        let taken_in = job.take_in(task, answer);
        self.board.set_used(id, job.used());
        if let Err(error) = taken_in {
            forget_the_fruitless(&self.journal, id, &error)?;
            return self.fail_seated(id, seated, &error.to_string()).await;
        }
        let waits = self.go_on(id, seated, Occasion::First).await?;
        if waits {
            self.offer.notify_one();
        }
        Ok(())
    }
}

/// Job and task of an item's id.
pub(crate) fn split(item: &ItemId) -> Option<(String, TaskId)> {
    let (job, task) = item.as_str().split_once('/')?;
    Some((job.to_owned(), task.parse().ok()?))
}
