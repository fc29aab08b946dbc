//! Who works: what workers have in hand, as the queues know it, and what they have done since this
//! coordinator started, as their answers say.

use crate::coordinator::Shared;
use crate::take_in::split;
use crate::{Coordinator, Trouble};
use rlaif_job::{Answer, TaskId, WorkResult, WorkerKind};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names kept; whoever answered longest ago is forgotten first.
const MAX_NAMES: usize = 4096;
/// Answers of the last minute that are counted for one worker.
const MAX_RECENT: usize = 1024;
const MINUTE: Duration = Duration::from_secs(60);
/// Items in hand that are asked for, of each kind.
const MAX_HELD: usize = 256;
/// How long a queue may take to answer somebody who only watches.
const WATCHERS_PATIENCE: Duration = Duration::from_secs(2);

/// All workers of one kind.
#[derive(Debug, Clone)]
pub struct Crew {
    /// Which kind.
    pub kind: WorkerKind,
    /// What is wrong with its queue.
    pub trouble: Option<Trouble>,
    /// How long a worker may be silent before another takes its item.
    pub lease: Duration,
    /// What the queue knows, or why it is not known.
    pub at_queue: Result<AtQueue, String>,
    /// What each worker has done, by its name.
    pub done: BTreeMap<String, Done>,
}

/// What a queue knows.
#[derive(Debug, Clone)]
pub struct AtQueue {
    /// Items accepted and not settled.
    pub outstanding: u64,
    /// Workers by their names; several processes of one name are one.
    pub workers: BTreeMap<String, Seen>,
}

/// A worker as its queue sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How long nothing was heard of it.
    pub silent: Duration,
    /// What it has in hand.
    pub held: Vec<HeldTask>,
}

/// A task in a worker's hand.
#[derive(Debug, Clone)]
pub struct HeldTask {
    /// Whose.
    pub job: String,
    /// Which.
    pub task: TaskId,
    /// How often it was started, this time included.
    pub starts: u32,
    /// False while it waits for its worker to be free.
    pub is_started: bool,
    /// How long its lease was not renewed.
    pub silent: Duration,
}

/// What a worker has done.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// Items.
    pub items: u64,
    /// What they consist of: prompts, pairs, responses, steps.
    pub parts: u64,
    /// Time at work on them.
    pub busy_seconds: f64,
    /// When each of the latest came.
    recent: VecDeque<Instant>,
}

impl Done {
    /// Items of the last minute; more than a thousand are not counted.
    pub fn last_minute(&self) -> usize {
        self.recent.iter().filter(|at| at.elapsed() <= MINUTE).count()
    }

    /// How long ago the last answer came.
    pub fn since_last(&self) -> Option<Duration> {
        self.recent.back().map(Instant::elapsed)
    }
}

/// What workers have done, by kind and name.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<(WorkerKind, String), Done>>);

impl Tally {
    /// Nothing panics under the lock.
    fn of_all(&self) -> MutexGuard<'_, BTreeMap<(WorkerKind, String), Done>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer came.
    pub fn note(&self, kind: WorkerKind, answer: &Answer) {
        let mut workers = self.of_all();
        let key = (kind, answer.worker.clone());
        if workers.len() >= MAX_NAMES && !workers.contains_key(&key) {
            let oldest = workers.iter().min_by_key(|(_, done)| done.recent.back().copied());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                workers.remove(&oldest);
            }
        }
        let done = workers.entry(key).or_default();
        done.items += 1;
        done.parts += parts(&answer.result) as u64;
        done.busy_seconds += answer.seconds;
        let over = |at: &Instant| at.elapsed() > MINUTE;
        while done.recent.len() >= MAX_RECENT || done.recent.front().is_some_and(over) {
            done.recent.pop_front();
        }
        done.recent.push_back(Instant::now());
    }

    fn of(&self, kind: WorkerKind) -> BTreeMap<String, Done> {
        let workers = self.of_all();
        let of_kind = workers.iter().filter(|((of, _), _)| *of == kind);
        of_kind.map(|((_, name), done)| (name.clone(), done.clone())).collect()
    }
}

/// What a result consists of. A stage counts only some of it: rollouts and rewards are not steps.
fn parts(result: &WorkResult) -> usize {
    match result {
        WorkResult::Rollouts(rollouts) => rollouts.len(),
        WorkResult::Rewards(rewards) => rewards.len(),
        WorkResult::Contests(contests) => contests.len(),
        further => further.count(),
    }
}

impl Coordinator {
    /// Who works, and on what. A queue that does not answer at once is left out, and says why.
    pub async fn crews(&self) -> Vec<Crew> {
        let mut crews = Vec::new();
        for kind in WorkerKind::ALL {
            crews.push(self.shared.crew(kind).await);
        }
        crews
    }
}

impl Shared {
    async fn crew(&self, kind: WorkerKind) -> Crew {
        let trouble = self.standing.of(kind);
        let at_queue = match trouble {
            Some(Trouble::Away) => Err("the queue does not answer".to_owned()),
            _ => match tokio::time::timeout(WATCHERS_PATIENCE, self.at_queue(kind)).await {
                Ok(known) => known.map_err(|error| error.to_string()),
                Err(_) => Err("the queue takes long to answer".to_owned()),
            },
        };
        let lease = self.queues.of(kind).options().lease;
        Crew { kind, trouble, lease, at_queue, done: self.tally.of(kind) }
    }

    async fn at_queue(&self, kind: WorkerKind) -> Result<AtQueue, rlaif_queue::Error> {
        let queue = self.queues.of(kind);
        let outstanding = queue.outstanding().await?;
        let mut workers: BTreeMap<String, Seen> = BTreeMap::new();
        for worker in queue.workers(MAX_HELD).await? {
            let unseen = || Seen { silent: worker.silent, held: Vec::new() };
            let seen = workers.entry(worker.name().to_owned()).or_insert_with(unseen);
            seen.silent = seen.silent.min(worker.silent);
            seen.held.extend(worker.held.into_iter().filter_map(|held| {
                let (job, task) = split(&held.item)?;
                let (starts, is_started, silent) = (held.starts, held.is_started, held.silent);
                Some(HeldTask { job, task, starts, is_started, silent })
            }));
        }
        Ok(AtQueue { outstanding, workers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_job::Tokens;

    fn answer(worker: &str) -> Answer {
        let result = WorkResult::Rewards(vec![Ok(0.5); 4]);
        Answer { result, seconds: 2.0, worker: worker.into(), tokens: Tokens::default() }
    }

    #[test]
    fn what_a_worker_has_done_is_summed_up_by_kind_and_name() {
        let tally = Tally::default();
        for (kind, worker) in [
            (WorkerKind::Labeler, "a"),
            (WorkerKind::Labeler, "a"),
            (WorkerKind::Labeler, "b"),
            (WorkerKind::Reward, "a"),
        ] {
            tally.note(kind, &answer(worker));
        }
        let labelers = tally.of(WorkerKind::Labeler);
        let a = &labelers["a"];
        assert_eq!((labelers.len(), a.items, a.parts, a.last_minute()), (2, 2, 8, 2));
        assert_eq!(a.busy_seconds, 4.0);
        assert!(a.since_last().is_some());
    }

    #[test]
    fn of_too_many_names_the_one_that_answered_longest_ago_is_forgotten() {
        let tally = Tally::default();
        (0..=MAX_NAMES).for_each(|i| tally.note(WorkerKind::Labeler, &answer(&i.to_string())));
        let labelers = tally.of(WorkerKind::Labeler);
        assert_eq!((labelers.len(), labelers.contains_key("0")), (MAX_NAMES, false));
    }
}
