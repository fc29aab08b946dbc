//! What one consumer has in hand, and the task that keeps it: renews leases, hands back what was
//! dropped, and tells holders what they lost.

use crate::Options;
use crate::store::{Handback, InHand, Standing, Store, Token};
use crate::{Error, Position};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub(crate) struct Hands {
    pub store: Arc<dyn Store>,
    pub consumer: String,
    pub options: Arc<Options>,
    state: Mutex<State>,
    /// Wakes the keeper: something was handed back, or the consumer closed.
    wake: Notify,
    /// Tells the consumer that it has fewer in hand.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    held: BTreeMap<u64, Held>,
    next_serial: u64,
    closed: bool,
}

struct Held {
    entry: Position,
    token: Option<Token>,
    suspect: bool,
    /// Handed back and waiting for the keeper to tell the store.
    given: Option<Handback>,
    lost: CancellationToken,
}

impl Held {
    fn in_hand(&self) -> InHand {
        InHand { entry: self.entry, token: self.token }
    }

    fn give(&mut self, returns_start: bool) {
        let handback = Handback { held: self.in_hand(), returns_start, rests: false };
        self.given = self.given.or(Some(handback));
    }
}

impl Hands {
    pub fn new(store: Arc<dyn Store>, consumer: String, options: Arc<Options>) -> Self {
        let (wake, changed) = (Notify::new(), watch::Sender::new(()));
        Self { store, consumer, options, state: Mutex::default(), wake, changed }
    }

    /// The guard is never held across an await, and no code under it panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn len(&self) -> usize {
        self.state().held.len()
    }

    pub fn hold_a_suspect(&self) -> bool {
        self.state().held.values().any(|held| held.suspect)
    }

    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes an entry into its care until it is settled or given back.
    pub fn hold(self: &Arc<Self>, entry: Position, suspect: bool) -> Hold {
        let lost = CancellationToken::new();
        let mut state = self.state();
        let serial = state.next_serial;
        state.next_serial += 1;
        let held = Held { entry, token: None, suspect, given: None, lost: lost.clone() };
        state.held.insert(serial, held);
        Hold { hands: self.clone(), serial, lost }
    }

    /// Keeps what is in hand until the consumer is closed and its hands are empty.
    pub async fn keep(self: Arc<Self>) {
        let mut heartbeat = tokio::time::interval(self.options.heartbeat_every());
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.hand_back().await;
            if self.finished() {
                break;
            }
            tokio::select! {
                _ = heartbeat.tick() => self.renew().await,
                () = self.wake.notified() => {}
            }
        }
        if let Err(error) = self.store.leave(&self.consumer).await {
            self.complain("leaving the queue", &error);
        }
    }

    fn finished(&self) -> bool {
        let state = self.state();
        state.closed && state.held.is_empty()
    }

    async fn renew(&self) {
        let (serials, held): (Vec<u64>, Vec<InHand>) = {
            let state = self.state();
            let alive = state.held.iter().filter(|(_, h)| !h.lost.is_cancelled());
            alive.map(|(serial, held)| (*serial, held.in_hand())).unzip()
        };
        if held.is_empty() {
            return;
        }
        match self.store.heartbeat(&self.consumer, &held).await {
            Ok(standings) => {
                for ((serial, asked), standing) in serials.iter().zip(&held).zip(standings) {
                    self.judge(*serial, asked, standing);
                }
            }
            // Holders work on: whoever took over fences them, and nobody can while Redis is away.
            Err(error) => self.complain("renewing leases", &error),
        }
    }

    /// Tells a holder what it lost, unless it has started or settled since the question was asked.
    fn judge(&self, serial: u64, asked: &InHand, standing: Standing) {
        let state = self.state();
        let held = state.held.get(&serial).filter(|held| held.token == asked.token);
        if let Some(held) = held
            && standing != Standing::Holds
        {
            held.lost.cancel();
        }
    }

    async fn hand_back(&self) {
        let (serials, given): (Vec<u64>, Vec<Handback>) = {
            let state = self.state();
            state.held.iter().filter_map(|(serial, held)| Some((*serial, held.given?))).unzip()
        };
        if given.is_empty() {
            return;
        }
        // If it fails the lease expires, which is slower and as safe.
        if let Err(error) = self.store.release(&self.consumer, &given).await {
            self.complain("handing items back", &error);
        }
        serials.into_iter().for_each(|serial| self.let_go(serial));
    }

    fn let_go(&self, serial: u64) {
        self.state().held.remove(&serial);
        self.changed.send_replace(());
    }

    /// Ends the keeper once everything in hand was settled or dropped.
    pub fn close(&self) {
        self.state().closed = true;
        self.wake.notify_one();
    }

    /// Ends the keeper once it has handed back everything in hand.
    pub fn close_and_give_all(&self) {
        let mut state = self.state();
        state.closed = true;
        for held in state.held.values_mut() {
            held.give(true);
            held.lost.cancel();
        }
        self.wake.notify_one();
    }

    fn complain(&self, doing: &str, error: &Error) {
        tracing::warn!(
            consumer = self.consumer,
            error = error as &dyn std::error::Error,
            "{doing}"
        );
    }
}

/// One thing in hand. Dropping it gives it back.
pub(crate) struct Hold {
    pub hands: Arc<Hands>,
    serial: u64,
    pub lost: CancellationToken,
}

impl Hold {
    /// Records the token; false when the entry was handed back meanwhile.
    pub fn started(&self, token: Token) -> bool {
        match self.hands.state().held.get_mut(&self.serial) {
            Some(held) if held.given.is_none() => {
                held.token = Some(token);
                true
            }
            _ => false,
        }
    }

    /// False once it was handed back, as a shutdown does.
    pub fn in_hand(&self) -> bool {
        self.hands.state().held.get(&self.serial).is_some_and(|held| held.given.is_none())
    }

    /// It is settled: nothing to renew or give back.
    pub fn settle(self) {
        self.hands.let_go(self.serial);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(held) = self.hands.state().held.get_mut(&self.serial) {
            held.give(false);
            self.hands.wake.notify_one();
        }
    }
}
