//! What a job reads, and how it draws responses to it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Prompts and other data, as JSONL. Relative paths start at the job file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Prompts to train on, a JSONL file: `{"prompt": ...}`.
    pub prompts: PathBuf,
    /// Prompts to evaluate on, never trained on; a file like `prompts`.
    pub heldout_prompts: PathBuf,
    /// For supervised fine-tuning on given demonstrations: `{"prompt", "completion"}` or `{"messages"}`.
    pub demonstrations: Option<PathBuf>,
    /// Preferences in any format that `rlaif data` reads, for `rl.reward = "preferences"` or for the reward model;
    /// whose labels of them are learned say `rl.labels` and `reward_model.labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferences: Option<PathBuf>,
}

/// How responses are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingConfig {
    /// Longest response, in tokens.
    pub max_new_tokens: usize,
    /// No end of text before this many tokens.
    pub min_new_tokens: usize,
    /// Softmax temperature, above 0; also that of the policy being trained. It may be 0 where the policy learns from
    /// given preferences, which it does at 1.
    pub temperature: f32,
    /// Texts that end a response, which keeps them: `["."]` asks for one sentence.
    pub stop: Vec<String>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self { max_new_tokens: 128, min_new_tokens: 1, temperature: 0.9, stop: Vec::new() }
    }
}
