//! From a job's tasks to the queues, and back out of them when a job stops.

use crate::active_job::ActiveJob;
use crate::coordinator::{Seat, Shared};
use crate::queues::Trouble;
use crate::{Error, JobRecord, JobState};
use rlaif_artifacts::Payload;
use rlaif_job::{TaskId, WorkItem, WorkerKind};
use rlaif_queue::{Enqueued, Headers, Item, ItemId, Queue};
use rlaif_service::metrics::names;
use rlaif_service::telemetry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::MutexGuard;
use tracing::{Instrument, Span};

/// How often everything unanswered is offered to the queue again. The queue refuses what it has;
/// what it lost, for example with its disk, is taken anew.
const OFFER_AGAIN: Duration = Duration::from_secs(30);
/// The same while a queue is full or away, or a job waits for the artifact store.
const OFFER_AGAIN_IN_TROUBLE: Duration = Duration::from_secs(2);
/// How often it is tried to take up running jobs that could not be.
const TAKE_UP_AGAIN: Duration = Duration::from_secs(2);
/// How often it is tried to take back items that could not be.
const TAKE_BACK_AGAIN: Duration = Duration::from_secs(2);

/// Why items are offered to a queue.
#[derive(Clone, Copy)]
pub(crate) enum Occasion {
    /// They are new.
    First,
    /// In case that the queue has lost them. It has nearly always all of them, so that is no event
    /// in their job's trace.
    Again,
}

impl Occasion {
    /// The sending of items, below the submission of their job.
    fn span(self, queue: &Queue, kind: WorkerKind, count: usize, job: &JobRecord) -> Span {
        if matches!(self, Self::Again) {
            return Span::none();
        }
        let name = format!("send {}", kind.queue());
        let span = tracing::info_span!(
            "send",
            otel.name = name,
            otel.kind = "producer",
            { names::MESSAGING_SYSTEM } = queue.system(),
            { names::MESSAGING_OPERATION_NAME } = "send",
            { names::MESSAGING_OPERATION_TYPE } = "send",
            { names::MESSAGING_DESTINATION_NAME } = kind.queue(),
            { names::MESSAGING_BATCH_MESSAGE_COUNT } = count,
            { names::JOB_ID } = job.id,
        );
        telemetry::continue_from(&span, |name| job.trace.get(name).map(String::as_str));
        span
    }

    /// What carries the trace on to whoever takes the items.
    fn headers(self, span: &Span, job: &JobRecord) -> Headers {
        match self {
            Self::First => telemetry::headers(span).into_iter().collect(),
            Self::Again => job.trace.clone(),
        }
    }
}

impl Shared {
    /// Never held across an await; no code under it panics.
    fn active(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Seat>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the job sits, if it is worked on.
    pub(crate) fn seat(&self, id: &str) -> Option<Seat> {
        self.active().get(id).cloned()
    }

    /// Whether the job is worked on.
    pub(crate) fn is_seated(&self, id: &str) -> bool {
        self.seat(id).is_some()
    }

    fn seats(&self) -> Vec<(String, Seat)> {
        self.active().iter().map(|(id, seat)| (id.clone(), seat.clone())).collect()
    }

    /// The job in `seat`, which the caller has emptied, is no longer worked on. Its record says so
    /// before: a running one without a seat is taken up.
    pub(crate) fn leave(&self, id: &str, seat: &Seat) {
        let mut active = self.active();
        if active.get(id).is_some_and(|known| Arc::ptr_eq(known, seat)) {
            active.remove(id);
        }
    }

    /// [`Shared::leave`] for who holds the job's seat, so that there is no other.
    fn leave_held(&self, id: &str) {
        if let Some(seat) = self.seat(id) {
            self.leave(id, &seat);
        }
    }

    /// Opens a running job; the caller has the turn to steer. One that cannot be opened fails, unless it
    /// is worth another try.
    ///
    /// # Errors
    /// When it is worth one, since the artifact store is away, or the journal fails.
    pub(crate) async fn take_up(&self, record: JobRecord) -> Result<(), Error> {
        let (id, seat) = (record.id.clone(), Seat::default());
        // Results that come while the journal is read wait here, so none is missed.
        let mut seated = seat.lock().await;
        self.active().insert(id.clone(), seat.clone());
        match self.open(record).await {
            Ok(Some(job)) => {
                self.board.taken_up(&id, job.progress(), job.used());
                self.board.set_tally(&id, job.tally().clone());
                *seated = Some(job);
                // Who hands out passes over seats that others hold.
                drop(seated);
                self.offer.notify_one();
                Ok(())
            }
            Ok(None) => {
                let succeeded = self.board.set_state(&id, JobState::Succeeded);
                self.leave(&id, &seat);
                succeeded.map(drop)
            }
            Err(error) if error.is_passing() || matches!(error, Error::Journal { .. }) => {
                self.leave(&id, &seat);
                Err(error)
            }
            Err(error) => {
                let failed = self.failed(&id, &error.to_string());
                self.leave(&id, &seat);
                failed
            }
        }
    }

    /// Takes up, for ever, running jobs that could not be when they were submitted or resumed.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn take_up_those_that_wait(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(TAKE_UP_AGAIN).await;
            let _turn = self.steering.lock().await;
            let waits = |id: &String| !self.is_seated(id);
            for id in self.board.ids_of_running().into_iter().filter(waits) {
                match self.take_up(self.board.job(&id)?).await {
                    Ok(()) => {}
                    Err(error) if error.is_passing() => {
                        tracing::warn!(job = id, %error, "the job waits for the artifact store");
                        // The others wait for the same store.
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// None where everything is done already.
    async fn open(&self, record: JobRecord) -> Result<Option<ActiveJob>, Error> {
        // The caller has the turn to steer, and a store that is away may take minutes to say so.
        self.artifacts.probe().await?;
        let artifacts = self.artifacts.job(&record.id)?;
        let (places, journal) = (self.places.clone(), self.journal.clone());
        let opening = async move {
            let mut job = ActiveJob::open(record, &places, artifacts, &journal).await?;
            Ok::<_, Error>(if job.finish_if_done().await? { None } else { Some(job) })
        };
        // On a task of its own: what makes it panic is on disk, and would end the coordinator, and with it all
        // other jobs, at each of its starts.
        match tokio::spawn(opening.in_current_span()).await {
            Ok(opened) => opened,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => Err(Error::panicked(&*panic)),
                // The runtime ends, and who waits here with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Offers tasks to the queues, for ever: new ones at once, all unanswered ones now and then.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn hand_out(&self) -> Result<(), Error> {
        let mut waits = false;
        loop {
            let well = self.standing.is_well() && !waits;
            let pause = if well { OFFER_AGAIN } else { OFFER_AGAIN_IN_TROUBLE };
            let occasion = tokio::select! {
                () = self.offer.notified() => Occasion::First,
                () = tokio::time::sleep(pause) => Occasion::Again,
            };
            waits = false;
            for (id, seat) in self.seats() {
                // Who has it hands out what is new, or has it done when the job is taken up.
                let Ok(mut seated) = seat.try_lock() else { continue };
                if let (Occasion::Again, Some(job)) = (occasion, seated.as_mut()) {
                    job.forget_handed_out();
                }
                waits |= self.go_on(&id, seated, occasion).await?;
            }
            if let Occasion::Again = occasion {
                self.standing.round_ended();
            }
        }
    }

    /// Goes on with the job in a seat: with what it owes, then to its end or with the tasks that can be
    /// worked on now. True where the rest waits for the artifact store, to be tried again soon.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn go_on(
        &self,
        id: &str,
        mut seated: MutexGuard<'_, Option<ActiveJob>>,
        occasion: Occasion,
    ) -> Result<bool, Error> {
        let Some(job) = seated.as_mut() else { return Ok(false) };
        match self.go_on_with(job, occasion).await {
            Ok(false) => Ok(false),
            Ok(true) => {
                *seated = None;
                let succeeded = self.board.set_state(id, JobState::Succeeded);
                self.leave_held(id);
                succeeded.map(|_| false)
            }
            Err(error) if error.is_store_away() => {
                tracing::warn!(job = id, %error, "the job waits for the artifact store");
                Ok(true)
            }
            Err(error) => self.fail_seated(id, seated, &error.to_string()).await.map(|()| false),
        }
    }

    /// True where the job is done.
    async fn go_on_with(&self, job: &mut ActiveJob, occasion: Occasion) -> Result<bool, Error> {
        let (id, mut told) = (job.record.id.clone(), Vec::new());
        let settled = job.settle(&mut told).await;
        for what in told {
            self.board.happened(&id, what);
        }
        self.board.set_tally(&id, job.tally().clone());
        settled?;
        if job.finish_if_done().await? {
            return Ok(true);
        }
        self.enqueue_ready(job, occasion).await?;
        Ok(false)
    }

    /// Hands out whatever can be worked on; what a queue does not take is offered again later.
    ///
    /// # Errors
    /// When an item can never be handed out, or the artifact store is away.
    async fn enqueue_ready(&self, job: &mut ActiveJob, occasion: Occasion) -> Result<(), Error> {
        let ready = job.ready();
        if job.waits_for_judgement()
            && let Some(why) = self.board.job(&job.record.id)?.spent_up()
        {
            return Err(Error::SpentUp(why));
        }
        let mut by_kind: BTreeMap<WorkerKind, Vec<Item>> = BTreeMap::new();
        for item in ready {
            let kind = item.work.worker();
            match self.queue_item(item).await {
                Ok(item) => by_kind.entry(kind).or_default().push(item),
                Err(error) => {
                    if error.is_store_away() {
                        self.standing.cannot_offer(kind, &error);
                    }
                    job.forget_handed_out();
                    return Err(error);
                }
            }
        }
        for (kind, items) in by_kind {
            let queue = self.queues.of(kind);
            let span = occasion.span(queue, kind, items.len(), &job.record);
            let headers = occasion.headers(&span, &job.record);
            let with_headers = |item| Item { headers: headers.clone(), ..item };
            let items = items.into_iter().map(with_headers).collect();
            match queue.enqueue(items).instrument(span).await {
                Ok(taken) => {
                    let added = taken.iter().filter(|taken| **taken == Enqueued::Added).count();
                    self.metrics.sent(&self.queues, kind, added);
                    self.standing.took_all(kind);
                }
                Err(rlaif_queue::Error::Full { .. }) => {
                    self.standing.full(kind);
                    job.forget_handed_out();
                }
                Err(
                    error @ (rlaif_queue::Error::TooLarge { .. } | rlaif_queue::Error::ItemId(_)),
                ) => return Err(error.into()),
                Err(error) => {
                    self.standing.cannot_offer(kind, &error.into());
                    job.forget_handed_out();
                }
            }
        }
        Ok(())
    }

    async fn queue_item(&self, item: WorkItem) -> Result<Item, Error> {
        let id = format!("{}/{}", item.job, item.task);
        let artifacts = self.artifacts.job(&item.job)?;
        let bytes = serde_json::to_vec(&item).expect("work items are plain data");
        Ok(Item::new(id, Payload::of(&artifacts, bytes).await?.to_wire()))
    }

    /// The job cannot go on; what it has done stays, and so do its dead letters.
    ///
    /// # Errors
    /// When the journal fails. That a queue is away does not keep a job from failing.
    pub(crate) async fn fail(&self, id: &str, error: &str) -> Result<(), Error> {
        let Some(seat) = self.seat(id) else { return Ok(()) };
        let seated = seat.lock().await;
        self.fail_seated(id, seated, error).await
    }

    /// Fails the job in a seat, which nobody else sees in between.
    pub(crate) async fn fail_seated(
        &self,
        id: &str,
        mut seated: MutexGuard<'_, Option<ActiveJob>>,
        error: &str,
    ) -> Result<(), Error> {
        let Some(mut job) = seated.take() else { return Ok(()) };
        let items = in_queues(&mut job);
        if let Err(error) = self.take_back(&items).await {
            tracing::warn!(job = id, %error, "items of a failed job cannot be taken back yet; trying again");
            // Before the job has failed: one that is running still at the next start takes them up again.
            self.journal.owe_taking_back(id, &items)?;
        }
        let failed = self.failed(id, error);
        self.leave_held(id);
        failed
    }

    fn failed(&self, id: &str, error: &str) -> Result<(), Error> {
        tracing::warn!(job = id, error, "the job failed");
        self.board.set_state(id, JobState::Failed { error: error.to_owned() }).map(drop)
    }

    /// Stops working on a job, whose items are taken back, and records its state.
    ///
    /// # Errors
    /// When a queue is away: then the job goes on as it was.
    pub(crate) async fn withdraw(&self, id: &str, state: JobState) -> Result<JobRecord, Error> {
        if let Some(seat) = self.seat(id) {
            let mut seated = seat.lock().await;
            if let Some(job) = seated.as_mut() {
                self.take_back(&in_queues(job)).await?;
            }
            *seated = None;
            self.leave(id, &seat);
        }
        // Nobody takes it up in between: that needs a turn to steer, which the caller has.
        self.board.set_state(id, state)
    }

    /// Takes items out of the queues, but for dead letters.
    ///
    /// # Errors
    /// When a queue is away: then some may be left.
    async fn take_back(&self, items: &[ItemId]) -> Result<(), Error> {
        // Nobody is kept waiting for a queue that is known to be away.
        if self.standing.any(Trouble::Away) {
            return Err(Error::QueueAway);
        }
        for (_, queue) in self.queues.each() {
            queue.cancel(items).await?;
        }
        Ok(())
    }

    /// Takes back, for ever, items of jobs that stopped while a queue was away: workers would go on with them, and
    /// be paid for it.
    ///
    /// # Errors
    /// When the journal fails.
    pub(crate) async fn take_back_what_is_left(&self) -> Result<(), Error> {
        loop {
            tokio::time::sleep(TAKE_BACK_AGAIN).await;
            // A job that is resumed in between would lose what it hands out.
            let _turn = self.steering.lock().await;
            for (id, items) in self.journal.to_take_back()? {
                // It wants them again; whoever stops it the next time takes them back.
                if self.board.job(&id).is_ok_and(|job| job.state == JobState::Running) {
                    continue;
                }
                match self.take_back(&items).await {
                    Ok(()) => {
                        self.journal.taken_back(&id)?;
                        tracing::info!(job = id, "items of a job that stopped were taken back");
                    }
                    // Who takes in results says that a queue is away.
                    Err(_) => break,
                }
            }
        }
    }
}

/// Items of a job that a queue may have: those that are handed out, and those that would be next, since they may
/// have been handed out before.
fn in_queues(job: &mut ActiveJob) -> Vec<ItemId> {
    let mut tasks: BTreeSet<TaskId> = job.forget_handed_out().into_iter().collect();
    tasks.extend(job.ready().iter().map(|item| item.task));
    let id = &job.record.id;
    tasks.into_iter().map(|task| ItemId::from(format!("{id}/{task}"))).collect()
}
