//! Ratings: one response on a scale of ten (paper section 4), or by a rubric of yes/no questions.

use crate::judge::Judge;
use crate::verdict::normalise;
use crate::{Error, Kind};
use rlaif_types::{Answered, Item, Judgement, Rating, Unscorable, UnscorableReason};

impl Judge {
    /// Rates each item.
    ///
    /// # Errors
    /// When the template is for comparisons.
    pub fn rate(&self, items: &[Item]) -> Result<Vec<Judgement<Rating>>, Error> {
        self.expect_kind(&[Kind::Rate, Kind::Rubric], "rating one response")?;
        let rendered: Vec<Judgement<Vec<Vec<u32>>>> = items
            .iter()
            .map(|item| {
                let context = item.prompt.as_context();
                let prompt = |ending| self.render(&context, &[&item.response], ending);
                self.endings.iter().map(prompt).collect()
            })
            .collect();
        let prompts: Vec<_> = rendered
            .iter()
            .flatten()
            .flat_map(|prompts| prompts.iter().zip(self.endings.iter()))
            .map(|(tokens, ending)| (tokens.as_slice(), &ending.verdicts))
            .collect();
        let mut answers = self.ask(&prompts).into_iter();
        let ratings = rendered.iter().map(|rendered| {
            let prompts = rendered.as_ref().map_err(Clone::clone)?;
            // All are taken before any is looked at: a failure must not shift the others.
            let mine: Vec<_> = answers.by_ref().take(prompts.len()).collect();
            let answered = prompts.iter().zip(mine).map(|(prompt, logprobs)| {
                let logprobs = logprobs?;
                let distribution = normalise(&logprobs)
                    .map_err(|what| Unscorable::new(UnscorableReason::NoVerdict, what))?;
                let verdict_logprobs = logprobs.into_iter().map(|l| l.max(f64::MIN)).collect();
                Ok(Answered { verdict_logprobs, distribution, prompt_tokens: prompt.len() })
            });
            Ok(self.combine(answered.collect::<Judgement<_>>()?))
        });
        Ok(ratings.collect())
    }

    fn combine(&self, answers: Vec<Answered>) -> Rating {
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
