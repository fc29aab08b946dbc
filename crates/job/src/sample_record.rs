//! Rollouts for people to read.

use rlaif_types::Prompt;
use serde::{Deserialize, Serialize};

/// A rollout for people to read; one line of `samples.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    /// Always `policy`.
    pub stage: String,
    /// Step, from 1.
    pub step: usize,
    /// What was asked.
    pub prompt: Prompt,
    /// What was answered.
    pub response: String,
    /// Its reward; none where it is unscorable.
    pub reward: Option<f64>,
}
