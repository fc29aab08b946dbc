//! What the ledger holds of one question: the answer or the failure, and all that led to it.

use crate::{Money, Question, Rule, Usage};
use rlaif_types::{ContentHash, Judgement, LabelId, OrderScores, Rating, SoftLabel};
use serde::Serialize;

/// One question that was asked, with its outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Identity of the question; see [`Setup::label_id`].
    pub label_id: LabelId,
    /// What was asked about.
    pub question: Question,
    /// The answer, or why there is none.
    pub outcome: Judgement<Answer>,
    /// How it was asked.
    pub setup: Setup,
    /// Tokens and time of all tries together.
    pub usage: Usage,
    /// What they cost.
    pub cost: Money,
    /// From the first try to the outcome.
    pub latency_ms: u64,
    /// Tries that it took.
    pub attempts: u32,
    /// Who asked.
    pub worker: Option<String>,
    /// The trace in which it was asked.
    pub trace_id: Option<String>,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
}

/// How a question was asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setup {
    /// Name of the template.
    pub template: String,
    /// Hash of the template.
    pub template_hash: ContentHash,
    /// Name of the labeler.
    pub model: String,
    /// Hash of the labeler.
    pub model_hash: ContentHash,
    /// `local`, or the endpoint's URL. Where a model runs is no part of the question's identity.
    pub engine: String,
    /// Whatever else changes the answer: samples, temperature, length of rationales. An object;
    /// empty for a plain verdict.
    pub options: serde_json::Value,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Which of two responses is better.
    Comparison(Compared),
    /// How good one response is.
    Rating(Rated),
}

/// A soft label and the verdicts it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// Probability that A is preferred.
    pub label: SoftLabel,
    /// Every verdict that was read: one for each order, or several with self-consistency.
    pub samples: Vec<Sample>,
}

impl Compared {
    /// The label that the default rule makes of `samples`.
    ///
    /// # Errors
    /// When an order is missing.
    pub fn new(samples: Vec<Sample>) -> Result<Self, String> {
        Ok(Self { label: Rule::default().label(&samples)?, samples })
    }
}

/// One verdict, and the rationale before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Which response was shown first.
    pub presented: Presented,
    /// The verdict.
    pub scores: OrderScores,
    /// What the labeler said first, where it was asked to reason.
    pub rationale: Option<String>,
}

/// Which response was shown first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presented {
    /// A, then B.
    Ab,
    /// B, then A.
    Ba,
}

impl Presented {
    /// The name in the file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ab => "ab",
            Self::Ba => "ba",
        }
    }
}

/// A rating and the rationales before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rated {
    /// The rating, with the verdicts it was made from.
    pub rating: Rating,
    /// What the labeler said first, where it was asked to reason.
    pub rationales: Vec<String>,
}

impl Answer {
    /// Probability that the labeler gave any verdict at all, in its least certain answer. Far below
    /// 1 the model wanted to say something else, and the label is made of crumbs.
    pub fn verdict_mass(&self) -> f64 {
        let mass = |logprobs: &[f64]| logprobs.iter().map(|l| l.exp()).sum::<f64>();
        let masses: Vec<f64> = match self {
            Self::Comparison(compared) => {
                compared.samples.iter().map(|s| mass(&s.scores.verdict_logprobs)).collect()
            }
            Self::Rating(rated) => {
                rated.rating.answers.iter().map(|a| mass(&a.verdict_logprobs)).collect()
            }
        };
        masses.into_iter().fold(1.0, f64::min)
    }
}
