//! What a labeler answers about one response: a score, and the verdicts it was made from.

use crate::Prompt;
use serde::{Deserialize, Serialize};

/// One response to rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// What was asked.
    pub prompt: Prompt,
    /// What was answered.
    pub response: String,
}

/// A rating and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// In `[-1, 1]`: `(score - 5.5) / 4.5` on the scale, `2 p - 1` by a rubric.
    pub reward: f64,
    /// Expected score: `sum of i · P(i)` in 1..=10 on the scale, the weighted mean probability of
    /// the good verdicts in 0..=1 by a rubric.
    pub score: f64,
    /// One on the scale, one for each question of a rubric.
    pub answers: Vec<Answered>,
}

/// The verdicts of one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Log-probabilities of the verdicts in the template's order; good, bad in a rubric.
    pub verdict_logprobs: Vec<f64>,
    /// Softmax over the verdicts alone.
    pub distribution: Vec<f64>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
}
