//! A worker's end of the queue: waits for items, takes over what others left, and runs an item that
//! may have killed its worker alone.

use crate::delivery::Delivery;
use crate::hands::Hands;
use crate::store::{Entry, Store, Taken};
use crate::{Error, Options};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Leases items. One per worker process, so that a suspect runs alone in it.
///
/// Dropping it keeps the leases in hand alive until each is settled or dropped.
pub struct Consumer {
    hands: Arc<Hands>,
    /// A suspect that waits for the hands to empty; nothing else is leased meanwhile.
    parked: Option<Delivery>,
    /// When to look again for what others left; sooner would cost a busy worker a round trip an item.
    next_reap: Instant,
    keeper: Option<JoinHandle<()>>,
    /// Items taken over from consumers that fell silent, by all consumers of this process.
    takeovers: Arc<AtomicU64>,
}

impl Consumer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        name: String,
        options: Arc<Options>,
        takeovers: Arc<AtomicU64>,
    ) -> Self {
        let hands = Arc::new(Hands::new(store, name, options));
        let keeper = Some(tokio::spawn(hands.clone().keep()));
        Self { hands, parked: None, next_reap: Instant::now(), keeper, takeovers }
    }

    /// The name that attempts are recorded under.
    pub fn name(&self) -> &str {
        &self.hands.consumer
    }

    /// Up to `max` items; waits up to `wait` for the first, then returns none.
    ///
    /// An item taken over from another worker comes alone. If that worker fell silent after
    /// starting it, the item may be the cause, and it also *runs* alone: it is handed out when
    /// nothing else is in hand, and nothing else is until it is settled. So poison dies without
    /// taking the starts of its neighbours with it.
    ///
    /// Cancel-safe; what was being handed out at that moment comes back when its lease expires.
    ///
    /// # Errors
    /// When Redis stays away; the consumer remains usable.
    pub async fn lease(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let deadline = Instant::now() + wait;
        let mut hands_changed = self.hands.changed();
        loop {
            hands_changed.mark_unchanged();
            if let Some(suspect) = self.parked.take_if(|_| self.hands.len() == 1) {
                return Ok(vec![suspect]);
            }
            if self.parked.is_some() || self.hands.hold_a_suspect() {
                if timeout_at(deadline, hands_changed.changed()).await.is_err() {
                    return Ok(Vec::new());
                }
                continue;
            }
            if let Some(taken) = self.reap().await? {
                let must_wait = taken.suspect && self.hands.len() > 0;
                let delivery = self.deliver(taken.entry, taken.suspect);
                if must_wait {
                    self.parked = Some(delivery);
                    continue;
                }
                return Ok(vec![delivery]);
            }
            let slice = deadline.min(self.next_reap).saturating_duration_since(Instant::now());
            let entries = self.hands.store.read(&self.hands.consumer, max.max(1), slice).await?;
            if !entries.is_empty() || Instant::now() >= deadline {
                return Ok(entries.into_iter().map(|entry| self.deliver(entry, false)).collect());
            }
        }
    }

    /// Hands back a suspect that waits for the hands to empty.
    pub(crate) fn give_up_parked(&mut self) {
        self.parked = None;
    }

    /// Hands back everything in hand, started or not, for others to take at once; whoever holds a
    /// lease sees it lost. Settle first what is about to finish.
    pub async fn shutdown(mut self) {
        self.hands.close_and_give_all();
        if let Some(keeper) = self.keeper.take()
            && let Err(error) = keeper.await
        {
            tracing::error!(consumer = self.name(), %error, "the keeper of leases panicked");
        }
    }

    /// Takes one item that others left, if it is time to look.
    async fn reap(&mut self) -> Result<Option<Taken>, Error> {
        if Instant::now() < self.next_reap {
            return Ok(None);
        }
        let taken = self.hands.store.take(&self.hands.consumer).await?;
        match &taken {
            Some(Taken { lost: true, .. }) => {
                self.takeovers.fetch_add(1, Ordering::Relaxed);
            }
            Some(_) => {}
            None => self.next_reap = Instant::now() + self.hands.options.reap_every(),
        }
        Ok(taken)
    }

    fn deliver(&self, entry: Entry, suspect: bool) -> Delivery {
        let hold = self.hands.hold(entry.position, suspect);
        Delivery::new(entry, hold)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.hands.close();
    }
}
