//! Waiting for a condition: liveness, not speed, so the patience is generous and fixed.

use std::time::{Duration, Instant};

/// Longer than anything correct takes on a busy machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// Polls `condition` until it yields a value.
///
/// # Panics
/// When it has not after 30 seconds, with `what` as the message.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}
