//! What a batcher tells about itself.

use std::time::Duration;

/// Why a waiting request never reached the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// Nobody waits for the response any more.
    CallerLeft,
    /// Its deadline passed.
    DeadlinePassed,
    /// Its deadline would have passed before the engine was done.
    TooLate,
}

/// What one batch was like.
#[derive(Debug)]
pub struct BatchReport<'a> {
    /// Their tokens.
    pub tokens: usize,
    /// How long each request waited, in the order of the batch.
    pub waits: &'a [Duration],
    /// How long the engine took.
    pub took: Duration,
    /// Whether the engine failed.
    pub failed: bool,
}

/// Told what happens in a batcher; called on the engine's and on callers' threads, so it must be
/// quick. [`BatcherMetrics`](crate::metrics::BatcherMetrics) records it as metrics.
pub trait Observer: Send + Sync + 'static {
    /// A batch was run.
    fn batch(&self, _report: &BatchReport<'_>) {}
    /// A waiting request was dropped.
    fn skipped(&self, _why: Skipped) {}
    /// A request was refused because the queue is full, or too long for its deadline.
    fn shed(&self) {}
}

/// Observes nothing.
impl Observer for () {}
