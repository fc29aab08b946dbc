//! Answers on the wire: a value or a typed failure, which no conversion turns into a number.

use crate::DecodeError;
use crate::decode::{all_finite, count, each, field, finite, required};
use crate::labeler::v1::{self as labeler, comparison_answer, rating_answer};
use crate::reward::v1::{self as reward, score_answer};
use rlaif_types::{Answered, Comparison, Judgement, OrderScores, Rating, Rationale};

impl From<OrderScores> for labeler::OrderScores {
    fn from(order: OrderScores) -> Self {
        let [first, second] = order.verdict_logprobs;
        Self {
            first_logprob: Some(first),
            second_logprob: Some(second),
            prefers_first: Some(order.prefers_first.into()),
            prompt_tokens: order.prompt_tokens as u64,
            completion_tokens: order.completion_tokens as u64,
            rationales: order.rationales.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<labeler::OrderScores> for OrderScores {
    type Error = DecodeError;

    fn try_from(order: labeler::OrderScores) -> Result<Self, DecodeError> {
        let first = finite(order.first_logprob, "first_logprob")?;
        let second = finite(order.second_logprob, "second_logprob")?;
        Ok(Self {
            verdict_logprobs: [first, second],
            prefers_first: field(order.prefers_first, "prefers_first")?,
            prompt_tokens: count(order.prompt_tokens, "prompt_tokens")?,
            completion_tokens: count(order.completion_tokens, "completion_tokens")?,
            rationales: each(order.rationales, "rationales")?,
        })
    }
}

impl From<Rationale> for labeler::Rationale {
    fn from(rationale: Rationale) -> Self {
        Self {
            text: rationale.text,
            verdict_logprobs: rationale.verdict_logprobs,
            prefers_first: rationale.prefers_first.map(Into::into),
        }
    }
}

impl TryFrom<labeler::Rationale> for Rationale {
    type Error = DecodeError;

    fn try_from(rationale: labeler::Rationale) -> Result<Self, DecodeError> {
        let verdict_logprobs = all_finite(rationale.verdict_logprobs, "verdict_logprobs")?;
        let prefers_first =
            rationale.prefers_first.map(|label| field(Some(label), "prefers_first"));
        Ok(Self {
            text: rationale.text,
            verdict_logprobs,
            prefers_first: prefers_first.transpose()?,
        })
    }
}

impl From<Comparison> for labeler::Comparison {
    fn from(comparison: Comparison) -> Self {
        Self {
            label: Some(comparison.label.into()),
            ab: Some(comparison.ab.into()),
            ba: Some(comparison.ba.into()),
        }
    }
}

impl TryFrom<labeler::Comparison> for Comparison {
    type Error = DecodeError;

    fn try_from(comparison: labeler::Comparison) -> Result<Self, DecodeError> {
        Ok(Self {
            label: field(comparison.label, "label")?,
            ab: field(comparison.ab, "ab")?,
            ba: field(comparison.ba, "ba")?,
        })
    }
}

impl From<Answered> for labeler::Answered {
    fn from(answered: Answered) -> Self {
        Self {
            verdict_logprobs: answered.verdict_logprobs,
            distribution: answered.distribution,
            prompt_tokens: answered.prompt_tokens as u64,
            completion_tokens: answered.completion_tokens as u64,
            rationales: answered.rationales.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<labeler::Answered> for Answered {
    type Error = DecodeError;

    fn try_from(answered: labeler::Answered) -> Result<Self, DecodeError> {
        let (verdicts, probabilities) =
            (answered.verdict_logprobs.len(), answered.distribution.len());
        if verdicts != probabilities {
            let what = format!("has {probabilities} values for {verdicts} verdicts");
            return Err(DecodeError::new("distribution", what));
        }
        Ok(Self {
            verdict_logprobs: all_finite(answered.verdict_logprobs, "verdict_logprobs")?,
            distribution: all_finite(answered.distribution, "distribution")?,
            prompt_tokens: count(answered.prompt_tokens, "prompt_tokens")?,
            completion_tokens: count(answered.completion_tokens, "completion_tokens")?,
            rationales: each(answered.rationales, "rationales")?,
        })
    }
}

impl From<Rating> for labeler::Rating {
    fn from(rating: Rating) -> Self {
        Self {
            reward: Some(rating.reward),
            score: Some(rating.score),
            answers: rating.answers.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<labeler::Rating> for Rating {
    type Error = DecodeError;

    fn try_from(rating: labeler::Rating) -> Result<Self, DecodeError> {
        Ok(Self {
            reward: finite(rating.reward, "reward")?,
            score: finite(rating.score, "score")?,
            answers: each(rating.answers, "answers")?,
        })
    }
}

impl From<Judgement<Comparison>> for comparison_answer::Result {
    fn from(judgement: Judgement<Comparison>) -> Self {
        match judgement {
            Ok(comparison) => Self::Comparison(comparison.into()),
            Err(unscorable) => Self::Unscorable(unscorable.into()),
        }
    }
}

impl labeler::ComparisonAnswer {
    /// The label, or why there is none.
    ///
    /// # Errors
    /// When the answer holds neither, or is senseless.
    pub fn judgement(&self) -> Result<Judgement<Comparison>, DecodeError> {
        match required(self.result.clone(), "result")? {
            comparison_answer::Result::Comparison(c) => field(Some(c), "comparison").map(Ok),
            comparison_answer::Result::Unscorable(u) => field(Some(u), "unscorable").map(Err),
        }
    }
}

impl From<Judgement<Rating>> for rating_answer::Result {
    fn from(judgement: Judgement<Rating>) -> Self {
        match judgement {
            Ok(rating) => Self::Rating(rating.into()),
            Err(unscorable) => Self::Unscorable(unscorable.into()),
        }
    }
}

impl labeler::RatingAnswer {
    /// The rating, or why there is none.
    ///
    /// # Errors
    /// When the answer holds neither, or is senseless.
    pub fn judgement(&self) -> Result<Judgement<Rating>, DecodeError> {
        match required(self.result.clone(), "result")? {
            rating_answer::Result::Rating(rating) => field(Some(rating), "rating").map(Ok),
            rating_answer::Result::Unscorable(u) => field(Some(u), "unscorable").map(Err),
        }
    }
}

impl From<Judgement<f32>> for score_answer::Result {
    fn from(judgement: Judgement<f32>) -> Self {
        match judgement {
            Ok(score) => Self::Score(reward::Score { reward: Some(score) }),
            Err(unscorable) => Self::Unscorable(unscorable.into()),
        }
    }
}

impl reward::ScoreAnswer {
    /// The reward, or why there is none.
    ///
    /// # Errors
    /// When the answer holds neither, or the reward is missing or not finite.
    pub fn judgement(&self) -> Result<Judgement<f32>, DecodeError> {
        match required(self.result.clone(), "result")? {
            score_answer::Result::Score(reward::Score { reward }) => {
                finite(reward.map(f64::from), "score.reward")?;
                required(reward, "score.reward").map(Ok)
            }
            score_answer::Result::Unscorable(u) => field(Some(u), "unscorable").map(Err),
        }
    }
}
