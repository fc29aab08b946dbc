//! A worker that does one item at a time and does not wait for the next: it is leased while the one
//! before is worked on, and started while that one's result is on its way.
//!
//! What is leased ahead is not started, so it costs the item no start if this worker dies. Nobody else
//! can do it meanwhile either; so it is leased ahead only where items are short, which is where
//! waiting shows, and given up once it has waited for [`MOST_HELD`]. A worker that is slow keeps no
//! idle one waiting for longer.

use crate::{Consumer, Delivery, Error};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// An item that took no longer is followed by one that was leased ahead. After longer ones the three
/// round trips between two items weigh little.
const SHORT: Duration = Duration::from_millis(200);
/// How long an item that nobody works on may be in a worker's hands.
const MOST_HELD: Duration = Duration::from_millis(200);
/// How long one read waits for an item when there is nothing else to do; a shutdown waits for it.
const WAIT: Duration = Duration::from_millis(250);

/// Work on items of a queue, one at a time; see [`Consumer::one_by_one`].
pub trait OneByOne: Sync {
    /// An item that was started.
    type Begun: Send;

    /// Starts a delivery; none where it cannot be.
    ///
    /// # Errors
    /// When Redis stays away.
    fn start(
        &self,
        delivery: Delivery,
    ) -> impl Future<Output = Result<Option<Self::Begun>, Error>> + Send;

    /// Works on an item and settles it. `worked` is to be cancelled when only the settling is left:
    /// the next item is then started meanwhile. It is worked on when this has returned.
    ///
    /// # Errors
    /// When Redis stays away.
    fn work(
        &self,
        begun: Self::Begun,
        worked: &CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Consumer {
    /// Has `worker` do one item after the other until `shutdown`. What is in hand then and was not
    /// worked on is handed back, with its start; the item in work is the worker's to settle.
    ///
    /// # Errors
    /// When Redis stays away.
    pub async fn one_by_one<W: OneByOne>(
        mut self,
        worker: &W,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let (mut next, mut took) = (None, Duration::ZERO);
        while !shutdown.is_cancelled() {
            let (worked, ahead) = (CancellationToken::new(), took <= SHORT);
            let work = async {
                let Some(begun) = next.take() else {
                    worked.cancel();
                    return Ok(());
                };
                let started = Instant::now();
                let done = worker.work(begun, &worked).await;
                worked.cancel();
                took = started.elapsed();
                done
            };
            let (done, started) =
                tokio::join!(work, self.start_next(worker, ahead, &worked, shutdown));
            done?;
            next = started?;
        }
        // First, so that what is dropped below is known to be handed over.
        self.shutdown().await;
        drop(next);
        Ok(())
    }

    /// Starts an item once the one before has been `worked` on; it may be leased `ahead` of that.
    async fn start_next<W: OneByOne>(
        &mut self,
        worker: &W,
        ahead: bool,
        worked: &CancellationToken,
        shutdown: &CancellationToken,
    ) -> Result<Option<W::Begun>, Error> {
        if ahead && let Some(delivery) = self.lease_one(MOST_HELD, shutdown).await? {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                () = worked.cancelled() => return worker.start(delivery).await,
                () = sleep(MOST_HELD) => drop(delivery),
            }
        }
        // A suspect that waits for the hands to empty does not wait for long work either.
        if !worked.is_cancelled() {
            self.give_up_parked();
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = worked.cancelled() => {}
        }
        match self.lease_one(WAIT, shutdown).await? {
            Some(delivery) => worker.start(delivery).await,
            None => Ok(None),
        }
    }

    /// At most one item; none during a shutdown. A read is never cut off: an item that Redis hands out
    /// at that moment would come back only when its lease expires.
    async fn lease_one(
        &mut self,
        wait: Duration,
        shutdown: &CancellationToken,
    ) -> Result<Option<Delivery>, Error> {
        if shutdown.is_cancelled() {
            return Ok(None);
        }
        let delivery = self.lease(1, wait).await?.pop();
        Ok(delivery.filter(|_| !shutdown.is_cancelled()))
    }
}
