//! Labels from stored verdicts, by another rule than the one they were made by: nothing is asked again.

use crate::{Presented, Sample};
use rlaif_types::SoftLabel;

/// How the verdicts of a pair become its label. The default is the paper's (section 1): the mean of
/// the distributions over all samples of both orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// How probabilities become one.
    pub combine: Combine,
    /// Which orders count.
    pub orders: Orders,
    /// Which samples count.
    pub samples: Samples,
    /// Divides the log-odds of each verdict: above 1 labels are softer, below 1 harder.
    pub temperature: f64,
}

/// How probabilities become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combine {
    /// Their mean.
    #[default]
    Mean,
    /// The mean of their log-odds: a geometric mean, in which one certain verdict weighs more.
    LogOdds,
    /// Each verdict is a vote for the likelier response; a tie is half a vote.
    Vote,
}

/// Which orders count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orders {
    /// Both, with equal weight.
    #[default]
    Both,
    /// One alone, to see what position bias does.
    Only(Presented),
}

/// Which samples of an order count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Samples {
    /// All.
    #[default]
    All,
    /// The first of each order: what one would have paid for without self-consistency.
    First,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            combine: Combine::Mean,
            orders: Orders::Both,
            samples: Samples::All,
            temperature: 1.0,
        }
    }
}

impl Rule {
    /// The label of `samples`.
    ///
    /// # Errors
    /// When an order that counts has no sample, the temperature is not positive, or certain verdicts
    /// contradict each other (log-odds of both infinities).
    pub fn label(&self, samples: &[Sample]) -> Result<SoftLabel, String> {
        let t = self.temperature;
        if !(t > 0.0 && t.is_finite()) {
            return Err(format!("a temperature is positive, not {t}"));
        }
        match self.orders {
            Orders::Only(Presented::Ab) => self.prefers_first(samples, Presented::Ab),
            Orders::Only(Presented::Ba) => {
                Ok(self.prefers_first(samples, Presented::Ba)?.swapped())
            }
            Orders::Both if self.combine == Combine::LogOdds => {
                let ab = self.mean_log_odds(samples, Presented::Ab)?;
                let ba = self.mean_log_odds(samples, Presented::Ba)?;
                probability((ab - ba) / 2.0)
            }
            Orders::Both => {
                let ab = self.prefers_first(samples, Presented::Ab)?;
                let ba = self.prefers_first(samples, Presented::Ba)?;
                Ok(SoftLabel::from_both_orders(ab, ba))
            }
        }
    }

    /// Probability that the response shown first is better, by the samples of one order.
    fn prefers_first(&self, samples: &[Sample], presented: Presented) -> Result<SoftLabel, String> {
        if self.combine == Combine::LogOdds {
            return probability(self.mean_log_odds(samples, presented)?);
        }
        let probabilities = self
            .counting(samples, presented)?
            .into_iter()
            .map(|sample| self.vote_or_probability(sample))
            .collect::<Result<Vec<f64>, _>>()?;
        SoftLabel::new(mean(&probabilities))
    }

    fn vote_or_probability(&self, sample: &Sample) -> Result<f64, String> {
        // The stored probability, to the last bit, unless the rule changes it.
        let first = match self.temperature {
            1.0 => sample.scores.prefers_first,
            t => probability(log_odds(sample) / t)?,
        };
        Ok(match self.combine {
            Combine::Vote if first.prefers_a() => 1.0,
            Combine::Vote if first.swapped().prefers_a() => 0.0,
            Combine::Vote => 0.5,
            _ => first.value(),
        })
    }

    fn mean_log_odds(&self, samples: &[Sample], presented: Presented) -> Result<f64, String> {
        let counting = self.counting(samples, presented)?;
        let odds: Vec<f64> =
            counting.into_iter().map(|sample| log_odds(sample) / self.temperature).collect();
        Ok(mean(&odds))
    }

    /// The samples of one order that count; at least one.
    fn counting<'a>(
        &self,
        samples: &'a [Sample],
        presented: Presented,
    ) -> Result<Vec<&'a Sample>, String> {
        let limit = match self.samples {
            Samples::All => usize::MAX,
            Samples::First => 1,
        };
        let counting: Vec<&Sample> =
            samples.iter().filter(|s| s.presented == presented).take(limit).collect();
        match counting.is_empty() {
            true => Err(format!("no verdict was read in the order {}", presented.as_str())),
            false => Ok(counting),
        }
    }
}

/// Log-odds that the response shown first is better.
///
/// Log-probabilities are stored as the model gave them, for the verdict that the template names
/// first; `prefers_first` has the template's polarity applied, and so tells what that is.
fn log_odds(sample: &Sample) -> f64 {
    let [first, second] = sample.scores.verdict_logprobs;
    let odds = first - second;
    let agrees = (odds >= 0.0) == (sample.scores.prefers_first.value() >= 0.5);
    if agrees { odds } else { -odds }
}

fn probability(log_odds: f64) -> Result<SoftLabel, String> {
    SoftLabel::from_logprobs(log_odds, 0.0).map_err(|_| {
        "certain verdicts contradict each other, so their log-odds have no mean".into()
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::OrderScores;

    fn sample(presented: Presented, logprobs: [f64; 2]) -> Sample {
        let prefers_first = SoftLabel::from_logprobs(logprobs[0], logprobs[1]).unwrap();
        let scores = OrderScores { verdict_logprobs: logprobs, prefers_first, prompt_tokens: 9 };
        Sample { presented, scores, rationale: None }
    }

    fn samples() -> Vec<Sample> {
        use Presented::{Ab, Ba};
        vec![
            sample(Ab, [-0.1, -2.5]),
            sample(Ba, [-1.7, -0.3]),
            sample(Ab, [-1.5, -0.4]),
            sample(Ba, [-0.2, -1.9]),
        ]
    }

    fn label(rule: Rule, samples: &[Sample]) -> f64 {
        rule.label(samples).unwrap().value()
    }

    #[test]
    fn with_one_sample_an_order_the_default_is_the_judges_label_to_the_last_bit() {
        for (a, b) in [(-0.1, -2.3), (-17.0, -0.003), (-1.0 / 3.0, -1.0 / 7.0)] {
            let both = [sample(Presented::Ab, [a, -0.7]), sample(Presented::Ba, [b, -1.1])];
            let [ab, ba] = &both;
            let judged =
                SoftLabel::from_both_orders(ab.scores.prefers_first, ba.scores.prefers_first);
            assert_eq!(label(Rule::default(), &both), judged.value());
        }
    }

    #[test]
    fn exchanging_the_candidates_exchanges_the_label_under_every_rule() {
        let exchanged: Vec<Sample> = samples()
            .into_iter()
            .map(|mut sample| {
                sample.presented = match sample.presented {
                    Presented::Ab => Presented::Ba,
                    Presented::Ba => Presented::Ab,
                };
                sample
            })
            .collect();
        for combine in [Combine::Mean, Combine::LogOdds, Combine::Vote] {
            for temperature in [0.5, 1.0, 3.0] {
                let rule = Rule { combine, temperature, ..Rule::default() };
                let sum = label(rule, &samples()) + label(rule, &exchanged);
                // One step of the grid, where log-odds are rounded to it.
                assert!((sum - 1.0).abs() <= 1.0 / (1u64 << 40) as f64, "{rule:?}: {sum}");
            }
        }
    }

    #[test]
    fn one_order_one_sample_and_votes() {
        let all = samples();
        let p = |i: usize| all[i].scores.prefers_first.value();
        let only = |presented| Rule { orders: Orders::Only(presented), ..Rule::default() };
        let near = |x: f64, y: f64| assert!((x - y).abs() < 1e-11, "{x} is not {y}");
        near(label(only(Presented::Ab), &all), (p(0) + p(2)) / 2.0);
        near(label(only(Presented::Ba), &all), 1.0 - (p(1) + p(3)) / 2.0);
        let first = Rule { samples: Samples::First, ..Rule::default() };
        near(label(first, &all), (p(0) + 1.0 - p(1)) / 2.0);
        // A wins one of two samples in each order.
        let vote = Rule { combine: Combine::Vote, ..Rule::default() };
        assert_eq!(label(vote, &all), 0.5);
        // ... and with the first samples alone, both.
        assert_eq!(label(Rule { samples: Samples::First, ..vote }, &all), 1.0);
    }

    #[test]
    fn log_odds_are_averaged_and_temperature_divides_them() {
        let both = [sample(Presented::Ab, [-0.5, -2.5]), sample(Presented::Ba, [-1.5, -0.5])];
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let geometric = Rule { combine: Combine::LogOdds, ..Rule::default() };
        assert!((label(geometric, &both) - sigmoid(1.5)).abs() < 1e-11);
        let soft = Rule { temperature: 2.0, ..Rule::default() };
        let expected = (sigmoid(1.0) + sigmoid(0.5)) / 2.0;
        assert!((label(soft, &both) - expected).abs() < 1e-11);
    }

    #[test]
    fn polarity_is_that_of_the_stored_probability() {
        // "Which is worse?": the likelier verdict names the first, so the second is preferred.
        let mut worse = sample(Presented::Ab, [-0.1, -3.0]);
        worse.scores.prefers_first = worse.scores.prefers_first.swapped();
        let rule = Rule {
            combine: Combine::LogOdds,
            orders: Orders::Only(Presented::Ab),
            ..Rule::default()
        };
        let stored = worse.scores.prefers_first.value();
        assert!((label(rule, &[worse]) - stored).abs() < 1e-11);
    }

    #[test]
    fn what_cannot_be_combined_is_an_error_and_never_a_tie() {
        let ab = sample(Presented::Ab, [0.0, f64::NEG_INFINITY]);
        assert!(Rule::default().label(std::slice::from_ref(&ab)).is_err());
        let ba = sample(Presented::Ba, [0.0, f64::NEG_INFINITY]);
        let geometric = Rule { combine: Combine::LogOdds, ..Rule::default() };
        assert!(geometric.label(&[ab.clone(), ba.clone()]).is_err());
        assert!(Rule { temperature: 0.0, ..Rule::default() }.label(&[ab, ba]).is_err());
    }
}
