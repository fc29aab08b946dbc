//! What the ledger holds of one question: the answer or the failure, and all that led to it.

use crate::Question;
use rlaif_types::{
    Comparison, ContentHash, Judgement, LabelId, Money, Rating, Rationale, Usage, verdict_mass,
};
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
    /// Whatever else changes the answer: exemplars, rationales, temperature. An object; empty for a
    /// plain verdict.
    pub options: serde_json::Value,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Which of two responses is better.
    Comparison(Comparison),
    /// How good one response is.
    Rating(Rating),
}

impl Answer {
    /// Probability that the labeler gave any verdict at all, in its least certain answer. Far below
    /// 1 the model wanted to say something else, and the label is made of crumbs.
    pub fn verdict_mass(&self) -> f64 {
        match self {
            Self::Comparison(comparison) => comparison.verdict_mass(),
            Self::Rating(rating) => {
                let masses = rating.answers.iter().map(|a| verdict_mass(&a.verdict_logprobs));
                masses.fold(1.0, f64::min)
            }
        }
    }

    /// Whether JSON can hold it: infinities and what is no number would be lost.
    pub(crate) fn is_finite(&self) -> bool {
        let finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
        let said = |rationales: &[Rationale]| {
            rationales.iter().all(|rationale| finite(&rationale.verdict_logprobs))
        };
        match self {
            Self::Comparison(Comparison { ab, ba, .. }) => [ab, ba]
                .iter()
                .all(|order| finite(&order.verdict_logprobs) && said(&order.rationales)),
            Self::Rating(Rating { reward, score, answers }) => {
                finite(&[*reward, *score])
                    && answers.iter().all(|answer| {
                        finite(&answer.verdict_logprobs)
                            && finite(&answer.distribution)
                            && said(&answer.rationales)
                    })
            }
        }
    }
}
