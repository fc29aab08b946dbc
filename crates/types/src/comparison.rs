//! What a labeler answers about a pair: the label of both presentation orders, and each order's.

use crate::SoftLabel;
use serde::{Deserialize, Serialize};

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
    /// Log-probabilities of the two verdicts, as the model gave them: first, second.
    pub verdict_logprobs: [f64; 2],
    /// Probability that the response shown *first* is preferred, polarity applied.
    pub prefers_first: SoftLabel,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
}
