//! Bounds of a batcher.

use crate::config::{Problems, Validate};
use serde::{Deserialize, Serialize};

/// Bounds of batches and of what waits for one.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Tokens that one batch may hold; a single request that costs more is refused.
    pub max_batch_tokens: usize,
    /// Requests that one batch may hold.
    pub max_batch_items: usize,
    /// Requests that may wait.
    pub max_queued_items: usize,
    /// Tokens that may wait: bounds memory where requests differ in size.
    pub max_queued_tokens: usize,
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        problems.check(self.max_batch_tokens > 0, "max_batch_tokens", "must be at least 1");
        problems.check(self.max_batch_items > 0, "max_batch_items", "must be at least 1");
        problems.check(self.max_queued_items > 0, "max_queued_items", "must be at least 1");
        problems.check(
            self.max_queued_tokens >= self.max_batch_tokens,
            "max_queued_tokens",
            "must be at least max_batch_tokens, or the largest request could never wait",
        );
    }
}
