//! How long a worker rests while something that its work needs is away: the artifact store, an endpoint.
//!
//! The item in hand has been put off by then, with its start: it is not at fault, and another worker may
//! reach what this one cannot. This one takes no other meanwhile. Each rest is twice as long as the one
//! before, until an item has its result, and shorter than that of the item, so that what lies behind the
//! item has its turn first. Something may be away for one item alone, an artifact that cannot be read, say:
//! where another item had its result in between, that is the item's own failure.

use rlaif_artifacts::ArtifactStore;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The first rest.
const SHORTEST: Duration = Duration::from_millis(500);
/// Items kept in mind that were put off. Beyond that all are forgotten, and may be put off once more.
const MOST_PUT_OFF: usize = 1024;

/// The rests of one worker.
pub(crate) struct Rest {
    store: ArtifactStore,
    /// How many there were since an item had its result.
    in_a_row: AtomicU32,
    store_is_away: AtomicBool,
    /// An item had its result since something was last said to be away.
    works: AtomicBool,
    put_off: Mutex<BTreeSet<String>>,
}

impl Rest {
    pub(crate) fn new(store: ArtifactStore) -> Self {
        Self {
            store,
            in_a_row: AtomicU32::new(0),
            store_is_away: AtomicBool::new(false),
            works: AtomicBool::new(false),
            put_off: Mutex::default(),
        }
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
        self.works.store(true, Ordering::Relaxed);
    }

    /// Whether the item, for which something is said to be away, is at fault itself: it was put off before,
    /// and the item just before it had its result. Else it is to be put off, which is kept in mind. One result
    /// speaks against one item: in an outage it is against the first that meets it, and no other.
    pub(crate) fn blames(&self, item: &str) -> bool {
        let works = self.works.swap(false, Ordering::Relaxed);
        // Nothing panics under the lock.
        let mut put_off = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        if put_off.contains(item) {
            return works;
        }
        if put_off.len() == MOST_PUT_OFF {
            put_off.clear();
        }
        put_off.insert(item.to_owned());
        false
    }

    /// Rests, and for as long as the artifact store is away. An item that is put off rests for a `lease`.
    /// Dropping it ends the rest.
    pub(crate) async fn take(&self, lease: Duration) {
        self.finds_the_store().await;
        loop {
            let before = self.in_a_row.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(pause(before, lease)).await;
            if self.finds_the_store().await {
                return;
            }
        }
    }
}

/// After so many rests: half a lease at the longest.
fn pause(before: u32, lease: Duration) -> Duration {
    SHORTEST.saturating_mul(1 << before.min(16)).min(lease / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rest_is_twice_as_long_as_the_one_before_and_no_longer_than_half_a_lease() {
        let lease = Duration::from_secs(10);
        let rests = [0, 1, 3, 4, u32::MAX].map(|before| pause(before, lease).as_millis());
        assert_eq!(rests, [500, 1000, 4000, 5000, 5000]);
    }

    #[test]
    fn what_was_away_for_one_item_alone_is_that_items_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let rest = Rest::new(ArtifactStore::open(&path.display().to_string(), path).unwrap());
        rest.end();
        // An outage: whatever is tried, and tried again, is put off.
        assert!(!["x", "y", "x", "y"].map(|item| rest.blames(item)).contains(&true));
        // It is over, and x still has no answer; y is not blamed for that.
        rest.end();
        assert_eq!(["x", "y", "x"].map(|item| rest.blames(item)), [true, false, false]);
        rest.end();
        assert!(rest.blames("x"));
    }
}
