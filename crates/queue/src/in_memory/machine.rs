//! The protocol as a state machine without clock or lock.
//!
//! It is the queue of a single process, and also the specification: `tests::model` explores it
//! exhaustively, and `tests::agreement` holds the scripts of `redis_streams` against it step by step.

use crate::store::{
    Claim, DROPPED, Entry, Handback, InHand, LOST, Standing, Started, Taken, Token,
};
use crate::{
    Attempt, DeadLetter, Death, Depth, Enqueued, Headers, Held, Item, ItemId, Options, Outcome,
    Position, ResultEntry, Worker,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Owner of what was given up, so that its former owner is fenced at once.
const NOBODY: &str = "nobody";

/// Everything that a queue knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    options: Arc<Options>,
    /// Not settled, in the order of work.
    work: BTreeMap<Position, Work>,
    results: BTreeMap<Position, Settled>,
    dead: BTreeMap<Position, (Item, Vec<Attempt>)>,
    /// Where each known item is; an enqueued item that is known is a duplicate.
    items: BTreeMap<ItemId, Place>,
    last_position: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Work {
    item: Item,
    enqueued_ms: u64,
    owner: Option<Owner>,
    starts: u32,
    attempts: Vec<Attempt>,
    suspect: bool,
    /// Trace context of the newest start, where that was traced.
    trace: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    consumer: String,
    token: Option<Token>,
    /// When others may take it.
    until_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Work(Position),
    Result(Position),
    Dead(Position),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Settled {
    item: ItemId,
    headers: Headers,
    outcome: Outcome,
    /// Of the start that did it, by which a repeated COMMIT is recognised.
    token: Option<Token>,
}

impl Machine {
    pub fn new(options: Arc<Options>) -> Self {
        Self {
            options,
            work: BTreeMap::new(),
            results: BTreeMap::new(),
            dead: BTreeMap::new(),
            items: BTreeMap::new(),
            last_position: 0,
        }
    }

    pub fn enqueue(&mut self, items: &[Item], now: u64) -> Vec<Enqueued> {
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            if self.items.contains_key(&item.id) {
                answers.push(Enqueued::Duplicate);
            } else if self.is_full() {
                break;
            } else {
                self.add(item.clone(), now);
                answers.push(Enqueued::Added);
            }
        }
        answers
    }

    fn is_full(&self) -> bool {
        self.items.len() as u64 >= self.options.max_outstanding
    }

    fn add(&mut self, item: Item, now: u64) {
        let position = self.next_position();
        self.items.insert(item.id.clone(), Place::Work(position));
        let work = Work {
            item,
            enqueued_ms: now,
            owner: None,
            starts: 0,
            attempts: Vec::new(),
            suspect: false,
            trace: None,
        };
        self.work.insert(position, work);
    }

    fn next_position(&mut self) -> Position {
        self.last_position += 1;
        Position { ms: 0, seq: self.last_position }
    }

    fn lease_end(&self, now: u64) -> u64 {
        now + self.options.lease.as_millis() as u64
    }

    pub fn read(&mut self, consumer: &str, max: usize, now: u64) -> Vec<Entry> {
        let until_ms = self.lease_end(now);
        let fresh = self.work.iter_mut().filter(|(_, work)| work.owner.is_none()).take(max);
        fresh
            .map(|(position, work)| {
                work.owner = Some(Owner { consumer: consumer.to_owned(), token: None, until_ms });
                Entry { position: *position, item: work.item.clone() }
            })
            .collect()
    }

    pub fn take(&mut self, consumer: &str, now: u64) -> Option<Taken> {
        let until_ms = self.lease_end(now);
        let over = |work: &Work| work.owner.as_ref().is_some_and(|owner| owner.until_ms <= now);
        let (position, work) = self.work.iter_mut().find(|(_, work)| over(work))?;
        let former =
            work.owner.replace(Owner { consumer: consumer.to_owned(), token: None, until_ms });
        let mut lost = false;
        if let Some(Owner { consumer: worker, token: Some(_), .. }) = former {
            work.attempts.push(Attempt { worker, unix_ms: now, reason: LOST.to_owned() });
            (work.suspect, lost) = (true, true);
        }
        let entry = Entry { position: *position, item: work.item.clone() };
        Some(Taken { entry, suspect: work.suspect, lost })
    }

    pub fn start(
        &mut self,
        consumer: &str,
        entry: Position,
        nonce: u64,
        trace: &str,
        now: u64,
    ) -> Started {
        let (until_ms, max_starts) = (self.lease_end(now), self.options.max_starts);
        let Some(work) = self.work.get_mut(&entry) else { return Started::Gone };
        let Some(owner) = &mut work.owner else { return Started::Gone };
        if owner.consumer != consumer {
            return Started::Fenced;
        }
        if let Some(token) = owner.token.filter(|token| token.nonce == nonce) {
            return Started::Token { token, before: None };
        }
        if work.starts >= max_starts {
            self.bury(entry);
            return Started::Dead;
        }
        work.starts += 1;
        let token = Token { start: work.starts, nonce };
        (owner.token, owner.until_ms) = (Some(token), until_ms);
        let traced = (!trace.is_empty()).then(|| trace.to_owned());
        let before = traced.and_then(|trace| work.trace.replace(trace));
        Started::Token { token, before }
    }

    pub fn heartbeat(&mut self, consumer: &str, held: &[InHand], now: u64) -> Vec<Standing> {
        let until_ms = self.lease_end(now);
        let renew = |held: &InHand| {
            let owner = self.work.get_mut(&held.entry).and_then(|work| work.owner.as_mut());
            let Some(owner) = owner else { return Standing::Gone };
            if owner.consumer != consumer || held.token.is_some() && owner.token != held.token {
                return Standing::Fenced;
            }
            owner.until_ms = until_ms;
            Standing::Holds
        };
        held.iter().map(renew).collect()
    }

    pub fn commit(
        &mut self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> Standing {
        match self.standing(claim) {
            Standing::Gone => return self.standing_of_settled(claim, item),
            Standing::Fenced => return Standing::Fenced,
            Standing::Holds => {}
        }
        let outcome = Outcome::Done { payload: payload.to_vec(), attempts: claim.token.start };
        let position = self.publish(item, headers, outcome, Some(claim.token));
        self.items.insert(item.clone(), Place::Result(position));
        self.work.remove(&claim.entry);
        Standing::Holds
    }

    fn publish(
        &mut self,
        item: &ItemId,
        headers: &Headers,
        outcome: Outcome,
        token: Option<Token>,
    ) -> Position {
        let position = self.next_position();
        let settled = Settled { item: item.clone(), headers: headers.clone(), outcome, token };
        self.results.insert(position, settled);
        position
    }

    fn standing(&self, claim: Claim<'_>) -> Standing {
        match self.work.get(&claim.entry).and_then(|work| work.owner.as_ref()) {
            None => Standing::Gone,
            Some(o) if o.consumer == claim.consumer && o.token == Some(claim.token) => {
                Standing::Holds
            }
            Some(_) => Standing::Fenced,
        }
    }

    fn standing_of_settled(&self, claim: Claim<'_>, item: &ItemId) -> Standing {
        let Some(Place::Result(position)) = self.items.get(item) else { return Standing::Gone };
        match self.results.get(position) {
            Some(settled) if settled.token == Some(claim.token) => Standing::Holds,
            _ => Standing::Fenced,
        }
    }

    pub fn fail(&mut self, claim: Claim<'_>, reason: &str, now: u64) -> Standing {
        let standing = self.standing(claim);
        if standing != Standing::Holds {
            return standing;
        }
        let until_ms = now + self.options.retry_delay.as_millis() as u64;
        let (worker, reason) = (claim.consumer.to_owned(), reason.to_owned());
        if let Some(work) = self.work.get_mut(&claim.entry) {
            work.attempts.push(Attempt { worker, unix_ms: now, reason });
            work.owner = Some(Owner { consumer: NOBODY.to_owned(), token: None, until_ms });
            if work.starts >= self.options.max_starts {
                self.bury(claim.entry);
            }
        }
        Standing::Holds
    }

    fn bury(&mut self, entry: Position) {
        let Some(Work { item, attempts, .. }) = self.work.remove(&entry) else { return };
        let position = self.next_position();
        self.items.insert(item.id.clone(), Place::Dead(position));
        let death = Death::after(attempts.clone());
        self.publish(&item.id, &item.headers, Outcome::Dead(death), None);
        self.dead.insert(position, (item, attempts));
    }

    pub fn release(&mut self, consumer: &str, given: &[Handback], now: u64) -> Vec<Standing> {
        given.iter().map(|handback| self.release_one(consumer, handback, now)).collect()
    }

    fn release_one(&mut self, consumer: &str, given: &Handback, now: u64) -> Standing {
        let until_ms = if given.rests { self.lease_end(now) } else { now };
        let Some(work) = self.work.get_mut(&given.held.entry) else { return Standing::Gone };
        let Some(owner) = &mut work.owner else { return Standing::Gone };
        if owner.consumer != consumer || owner.token != given.held.token {
            return Standing::Fenced;
        }
        if owner.token.take().is_some() {
            if given.returns_start {
                work.starts -= 1;
            } else {
                let (worker, reason) = (consumer.to_owned(), DROPPED.to_owned());
                work.attempts.push(Attempt { worker, unix_ms: now, reason });
            }
        }
        *owner = Owner { consumer: NOBODY.to_owned(), token: None, until_ms };
        Standing::Holds
    }

    pub fn progress(
        &mut self,
        claim: Claim<'_>,
        item: &ItemId,
        headers: &Headers,
        payload: &[u8],
    ) -> bool {
        let recorded = self.standing(claim) == Standing::Holds
            && (self.results.len() as u64) < self.options.max_unread_progress;
        if recorded {
            self.publish(item, headers, Outcome::Progress(payload.to_vec()), None);
        }
        recorded
    }

    pub fn results(&self, after: Position, max: usize) -> Vec<ResultEntry> {
        let later = self.results.range((Bound::Excluded(after), Bound::Unbounded));
        later
            .take(max)
            .map(|(position, settled)| ResultEntry {
                position: *position,
                item: settled.item.clone(),
                headers: settled.headers.clone(),
                outcome: settled.outcome.clone(),
            })
            .collect()
    }

    pub fn acknowledge(&mut self, upto: Position) {
        while let Some(first) = self.results.first_entry().filter(|first| *first.key() <= upto) {
            let (position, settled) = first.remove_entry();
            // Not if the item was requeued or enqueued anew since.
            if self.items.get(&settled.item) == Some(&Place::Result(position)) {
                self.items.remove(&settled.item);
            }
        }
    }

    pub fn outstanding(&self) -> u64 {
        self.work.len() as u64
    }

    pub fn depth(&self, now: u64) -> Depth {
        let oldest = self.work.first_key_value();
        let age = |work: &Work| Duration::from_millis(now.saturating_sub(work.enqueued_ms));
        Depth {
            outstanding: self.outstanding(),
            oldest_age: oldest.map(|(_, work)| age(work)),
            dead_letters: self.dead.len() as u64,
            is_full: self.is_full(),
        }
    }

    pub fn dead_letters(&self, after: Position, max: usize) -> Vec<DeadLetter> {
        let later = self.dead.range((Bound::Excluded(after), Bound::Unbounded)).take(max);
        later
            .map(|(position, (item, attempts))| DeadLetter {
                position: *position,
                item: item.clone(),
                death: Death::after(attempts.clone()),
            })
            .collect()
    }

    /// Only who holds something is known here.
    pub fn workers(&self, max: usize, now: u64) -> Vec<Worker> {
        let mut workers = Vec::new();
        let owned = self.work.values().filter_map(|work| Some((work, work.owner.as_ref()?)));
        for (work, owner) in owned.filter(|(_, owner)| owner.consumer != NOBODY).take(max) {
            let renewed_ms = owner.until_ms - self.options.lease.as_millis() as u64;
            let silent = Duration::from_millis(now.saturating_sub(renewed_ms));
            let worker = Worker::among(&mut workers, &owner.consumer, silent);
            worker.silent = worker.silent.min(silent);
            worker.held.push(Held {
                item: work.item.id.clone(),
                starts: work.starts,
                is_started: owner.token.is_some(),
                silent,
            });
        }
        workers
    }

    pub fn requeue(&mut self, ids: &[ItemId], now: u64) -> usize {
        let mut requeued = 0;
        for id in ids {
            let Some(Place::Dead(position)) = self.items.get(id) else { continue };
            if let Some((item, _)) = self.dead.remove(position) {
                self.add(item, now);
                requeued += 1;
            }
        }
        requeued
    }

    pub fn cancel(&mut self, ids: &[ItemId]) -> usize {
        let mut cancelled = 0;
        for id in ids {
            let Some(Place::Work(position)) = self.items.get(id) else { continue };
            self.work.remove(position);
            self.items.remove(id);
            cancelled += 1;
        }
        cancelled
    }

    pub fn discard(&mut self, ids: &[ItemId]) -> usize {
        let mut discarded = 0;
        for id in ids {
            let Some(Place::Dead(position)) = self.items.get(id) else { continue };
            self.dead.remove(position);
            self.items.remove(id);
            discarded += 1;
        }
        discarded
    }
}

/// What only the model asks.
#[cfg(test)]
impl Machine {
    /// Who may settle an entry.
    pub fn in_force(&self, entry: Position) -> Option<(String, Token)> {
        let owner = self.work.get(&entry)?.owner.as_ref()?;
        Some((owner.consumer.clone(), owner.token?))
    }

    /// The start that made a result; none made a dead letter.
    pub fn settled_by(&self, result: Position) -> Option<Token> {
        self.results.get(&result)?.token
    }
}
