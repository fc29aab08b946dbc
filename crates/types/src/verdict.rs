//! What a labeler answers, with what it was made from.

use crate::{Prompt, SoftLabel};
use serde::{Deserialize, Serialize};

/// One response to rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// What was asked.
    pub prompt: Prompt,
    /// What was answered.
    pub response: String,
}

/// A label and what it was made from, so that it can be made again without asking again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Probability that A is preferred, by both orders.
    pub label: SoftLabel,
    /// A shown first.
    pub ab: OrderScores,
    /// B shown first.
    pub ba: OrderScores,
}

/// The verdict in one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderScores {
    /// Log-probabilities of the two verdicts, as the model gave them: first, second. After several
    /// rationales, of their mean probabilities.
    pub verdict_logprobs: [f64; 2],
    /// Probability that the response shown *first* is preferred, polarity applied; the mean over
    /// the rationales where there are several.
    pub prefers_first: SoftLabel,
    /// Tokens read: those of the prompt, for each time it was asked.
    pub prompt_tokens: usize,
    /// Tokens written: those of the rationales.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub completion_tokens: usize,
    /// What was said before the verdict; none where it was asked for straight away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rationales: Vec<Rationale>,
}

/// A chain of thought and the verdict after it (paper section 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rationale {
    /// What was said.
    pub text: String,
    /// Log-probabilities of the verdicts after it, in the template's order.
    pub verdict_logprobs: Vec<f64>,
    /// Of a comparison: what this rationale alone comes to, as [`OrderScores::prefers_first`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefers_first: Option<SoftLabel>,
}

/// Probability that all verdicts had together: how much of the model's answer was one at all.
pub fn verdict_mass(verdict_logprobs: &[f64]) -> f64 {
    verdict_logprobs.iter().map(|logprob| logprob.exp()).sum()
}

impl Comparison {
    /// The smaller verdict mass of both orders.
    pub fn verdict_mass(&self) -> f64 {
        let mass = |order: &OrderScores| verdict_mass(&order.verdict_logprobs);
        mass(&self.ab).min(mass(&self.ba))
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
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
    /// Log-probabilities of the verdicts in the template's order; good, bad in a rubric. After
    /// several rationales, of their mean probabilities.
    pub verdict_logprobs: Vec<f64>,
    /// Softmax over the verdicts alone; the mean over the rationales where there are several.
    pub distribution: Vec<f64>,
    /// Tokens read: those of the prompt, for each time it was asked.
    pub prompt_tokens: usize,
    /// Tokens written: those of the rationales.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub completion_tokens: usize,
    /// What was said before the verdict; none where it was asked for straight away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rationales: Vec<Rationale>,
}
