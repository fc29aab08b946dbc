//! Why a batcher gives no response.

use std::time::Duration;

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The queue is full, or what waits in it would outlast the caller's deadline.
    #[error(
        "overloaded: the queue is full or outlasts the call's deadline; try again in {} ms",
        .retry_after.as_millis()
    )]
    Overloaded {
        /// When what waits now is likely to be done.
        retry_after: Duration,
    },
    /// The request alone is larger than a batch may be.
    #[error("the request costs {tokens} tokens, a batch holds {limit}; shorten it")]
    TooLarge {
        /// Its cost.
        tokens: usize,
        /// What a batch holds.
        limit: usize,
    },
    /// The deadline passed before the response was there.
    #[error("the deadline passed before the engine answered")]
    DeadlineExceeded,
    /// The engine failed on the batch that the request was in. Other batches are not affected.
    #[error("the engine failed on this batch: {message}")]
    Engine {
        /// What it said.
        message: String,
    },
    /// The engine is shutting down.
    #[error("the engine is shutting down; ask another instance")]
    Stopped,
}
