//! Ratings: one response on a scale of ten (paper section 4), or by a rubric of yes/no questions.

use crate::Error;
use crate::engine::{Accounted, Effort};
use crate::judge::{Groups, Judge, Verdict};
use crate::memory::{Forgetful, Keys, Memory};
use rlaif_template::Kind;
use rlaif_types::{Answered, Item, Judgement, Rating};

impl Judge {
    /// Rates each item.
    ///
    /// # Errors
    /// When the template is for comparisons.
    pub fn rate(&self, items: &[Item]) -> Result<Vec<Judgement<Rating>>, Error> {
        Ok(self
            .rate_accounted(items, &mut Forgetful)?
            .into_iter()
            .map(|said| said.outcome)
            .collect())
    }

    /// [`Judge::rate`] with what each rating took, or the attempt at it. Answers in `memory` are not asked
    /// for again.
    ///
    /// # Errors
    /// When the template is for comparisons.
    pub fn rate_accounted(
        &self,
        items: &[Item],
        memory: &mut dyn Memory,
    ) -> Result<Vec<Accounted<Rating>>, Error> {
        self.expect_kind(&[Kind::Rate, Kind::Rubric], "rating one response")?;
        let asked = items.iter().map(|item| self.by_every_ending(item)).collect();
        let verdicts = self.ask(asked, memory).into_iter();
        Ok(verdicts.map(|said| said.and_then(|verdicts| Ok(self.combine(verdicts)))).collect())
    }

    /// The most that one rating can take; what a budget has to set aside.
    pub fn rate_at_most(&self, item: &Item) -> Effort {
        self.at_most(&self.by_every_ending(item))
    }

    /// What a [`Memory`] keeps the answers about an item by; nothing where it cannot be asked about.
    pub fn rate_keys(&self, item: &Item) -> Vec<Keys> {
        self.keys(&self.by_every_ending(item))
    }

    /// Tokens of an item's prompt, mean over the template's questions; none where it cannot be asked about.
    pub fn rate_prompt_tokens(&self, item: &Item) -> Option<f64> {
        self.mean_prompt_tokens(&self.by_every_ending(item))
    }

    /// Whether an item and its answers fit the labeler's context; taken for granted where its length is not known.
    pub fn item_fits(&self, item: &Item) -> bool {
        self.fits(&self.by_every_ending(item))
    }

    /// The lowest score that it gives.
    pub fn least_score(&self) -> f64 {
        match self.template().kind {
            Kind::Rate => 1.0,
            Kind::Rubric | Kind::Compare => 0.0,
        }
    }

    fn by_every_ending(&self, item: &Item) -> Judgement<Groups> {
        let context = item.prompt.as_context();
        let questions = |ending| self.questions(&context, &[&item.response], ending);
        self.endings.iter().map(questions).collect()
    }

    fn combine(&self, verdicts: Vec<Verdict>) -> Rating {
        let answers: Vec<Answered> = verdicts.into_iter().map(answered).collect();
        if self.template().kind == Kind::Rate {
            let score = expected_score(&answers[0].distribution);
            return Rating { reward: rescale(score), score, answers };
        }
        let questions = &self.template().questions;
        let total: f64 = questions.iter().map(|q| q.weight).sum();
        let weighted = questions.iter().zip(&answers).map(|(q, a)| q.weight * a.distribution[0]);
        let score = weighted.sum::<f64>() / total;
        Rating { reward: 2.0 * score - 1.0, score, answers }
    }
}

fn answered(verdict: Verdict) -> Answered {
    Answered {
        verdict_logprobs: verdict.logprobs,
        distribution: verdict.distribution,
        prompt_tokens: verdict.tokens[0],
        completion_tokens: verdict.tokens[1],
        rationales: verdict.rationales,
    }
}

/// `sum of i · P(i)` for i from 1.
fn expected_score(distribution: &[f64]) -> f64 {
    distribution.iter().zip(1..).map(|(p, i)| p * f64::from(i)).sum()
}

/// From 1..=10 to `[-1, 1]`.
fn rescale(score: f64) -> f64 {
    (score - 5.5) / 4.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_is_zero_all_on_ten_is_one_all_on_one_is_minus_one() {
        let all_on = |i: usize| (0..10).map(|j| f64::from(u8::from(i == j))).collect::<Vec<_>>();
        assert!(rescale(expected_score(&[0.1; 10])).abs() < 1e-12);
        assert_eq!(rescale(expected_score(&all_on(9))), 1.0);
        assert_eq!(rescale(expected_score(&all_on(0))), -1.0);
    }
}
