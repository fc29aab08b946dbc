//! How long a worker rests while something that its work needs is away: the artifact store, an endpoint.
//!
//! The item in hand has gone back by then, with its start: it is not at fault, and another worker may
//! reach what this one cannot. This one takes no other meanwhile. Each rest is twice as long as the one
//! before, until an item has its result.

use rlaif_artifacts::ArtifactStore;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The first rest.
const SHORTEST: Duration = Duration::from_millis(500);
/// The longest.
const LONGEST: Duration = Duration::from_secs(30);

/// The rests of one worker.
pub(crate) struct Rest {
    store: ArtifactStore,
    /// How many there were since an item had its result.
    in_a_row: AtomicU32,
    store_is_away: AtomicBool,
}

impl Rest {
    pub(crate) fn new(store: ArtifactStore) -> Self {
        Self { store, in_a_row: AtomicU32::new(0), store_is_away: AtomicBool::new(false) }
    }

    /// Whether the artifact store was away when it was asked last.
    pub(crate) fn is_store_away(&self) -> bool {
        self.store_is_away.load(Ordering::Relaxed)
    }

    /// Asks the artifact store whether it is there.
    pub(crate) async fn finds_the_store(&self) -> bool {
        let found = self.store.probe().await;
        if let Err(error) = &found {
            tracing::warn!(%error, "the artifact store is away");
        }
        self.store_is_away.store(found.is_err(), Ordering::Relaxed);
        found.is_ok()
    }

    /// An item has its result.
    pub(crate) fn end(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
    }

    /// Rests, and for as long as the artifact store is away. Dropping it ends the rest.
    pub(crate) async fn take(&self) {
        self.finds_the_store().await;
        loop {
            let before = self.in_a_row.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause(before)).await;
            if self.finds_the_store().await {
                return;
            }
        }
    }
}

/// After so many rests.
fn pause(before: u32) -> Duration {
    SHORTEST.saturating_mul(1 << before.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_as_long_as_the_one_before_and_no_longer_than_the_longest() {
        let rests = [0, 1, 5, 6, u32::MAX].map(|before| pause(before).as_millis());
        assert_eq!(rests, [500, 1000, 16_000, 30_000, 30_000]);
    }
}
