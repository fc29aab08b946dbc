//! Labels from stored verdicts, by another rule than the one they were made by: nothing is asked again.

use rlaif_types::{Comparison, OrderScores, Rationale, SoftLabel};

/// How the verdicts of a pair become its label. The default is the paper's (section 1): the mean of
/// the distributions over the samples of each order, then of both orders.
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

/// Which orders count; one alone shows what position bias does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orders {
    /// Both, with equal weight.
    #[default]
    Both,
    /// A shown first.
    Ab,
    /// B shown first.
    Ba,
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

/// One verdict of an order: the only one, or that after one rationale.
#[derive(Debug, Clone, Copy)]
struct Sample {
    verdict_logprobs: [f64; 2],
    prefers_first: SoftLabel,
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
    /// The label of `comparison`.
    ///
    /// The default rule is the one that made it, so it gives the label on record: samples are rounded
    /// one by one, and cannot tell how an order's mean was clamped. Rules that change log-odds go back
    /// to those that the model gave, before any clamp; the others take each sample as it is on record.
    ///
    /// # Errors
    /// When a rationale has no verdict of its own, the temperature is not positive, or certain verdicts
    /// contradict each other (log-odds of both infinities).
    pub fn label(&self, comparison: &Comparison) -> Result<SoftLabel, String> {
        match *self == Self::default() {
            true => Ok(comparison.label),
            false => self.of_samples(comparison),
        }
    }

    fn of_samples(&self, comparison: &Comparison) -> Result<SoftLabel, String> {
        let t = self.temperature;
        if !(t > 0.0 && t.is_finite()) {
            return Err(format!("a temperature is positive, not {t}"));
        }
        let Comparison { ab, ba, .. } = comparison;
        match self.orders {
            Orders::Ab => self.prefers_first(ab),
            Orders::Ba => Ok(self.prefers_first(ba)?.swapped()),
            Orders::Both if self.combine == Combine::LogOdds => {
                probability((self.mean_log_odds(ab)? - self.mean_log_odds(ba)?) / 2.0)
            }
            Orders::Both => {
                Ok(SoftLabel::from_both_orders(self.prefers_first(ab)?, self.prefers_first(ba)?))
            }
        }
    }

    /// Probability that the response shown first is better, by the samples of one order.
    ///
    /// It is on the grid of one order, which [`SoftLabel::mean`] is not: only so is the mean of both
    /// orders exact.
    fn prefers_first(&self, order: &OrderScores) -> Result<SoftLabel, String> {
        if self.combine == Combine::LogOdds {
            return probability(self.mean_log_odds(order)?);
        }
        let probability = |sample| Ok(self.vote_or_probability(sample)?.value());
        let probabilities = self
            .counting(order)?
            .into_iter()
            .map(probability)
            .collect::<Result<Vec<_>, String>>()?;
        SoftLabel::new(mean(&probabilities))
    }

    fn vote_or_probability(&self, sample: Sample) -> Result<SoftLabel, String> {
        // The stored probability, to the last bit, unless the rule changes it.
        let first = match self.temperature {
            1.0 => sample.prefers_first,
            t => probability(sample.log_odds() / t)?,
        };
        Ok(if self.combine == Combine::Vote { first.vote() } else { first })
    }

    fn mean_log_odds(&self, order: &OrderScores) -> Result<f64, String> {
        let odds = |sample: Sample| sample.log_odds() / self.temperature;
        Ok(mean(&self.counting(order)?.into_iter().map(odds).collect::<Vec<_>>()))
    }

    /// The samples of one order that count; at least one.
    fn counting(&self, order: &OrderScores) -> Result<Vec<Sample>, String> {
        let limit = match self.samples {
            Samples::All => usize::MAX,
            Samples::First => 1,
        };
        match order.rationales.is_empty() {
            true => Ok(vec![Sample {
                verdict_logprobs: order.verdict_logprobs,
                prefers_first: order.prefers_first,
            }]),
            false => order.rationales.iter().take(limit).map(Sample::after).collect(),
        }
    }
}

impl Sample {
    fn after(rationale: &Rationale) -> Result<Self, String> {
        match (rationale.verdict_logprobs.as_slice(), rationale.prefers_first) {
            (&[first, second], Some(prefers_first)) => {
                Ok(Self { verdict_logprobs: [first, second], prefers_first })
            }
            _ => {
                Err("a rationale has no verdict of its own on record; use the default rule".into())
            }
        }
    }

    /// Log-odds that the response shown first is better.
    ///
    /// Log-probabilities are stored as the model gave them, for the verdict that the template names
    /// first; `prefers_first` has the template's polarity applied, and so tells what that is.
    fn log_odds(self) -> f64 {
        let [first, second] = self.verdict_logprobs.map(unbounded);
        let odds = first - second;
        let prefers_first = self.prefers_first.value();
        if prefers_first == 0.5 {
            // A tie tells no polarity, and stays one.
            0.0
        } else if (odds >= 0.0) == (prefers_first > 0.5) {
            odds
        } else {
            -odds
        }
    }
}

/// `f64::MIN` stands for the minus infinity that JSON lacks. As a number it would cancel out against
/// its like, and make a tie of certain verdicts that contradict each other.
fn unbounded(logprob: f64) -> f64 {
    if logprob == f64::MIN { f64::NEG_INFINITY } else { logprob }
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
    use proptest::prelude::*;

    /// One step of the grid of one order.
    const STEP: f64 = 1.0 / (1u64 << 40) as f64;

    fn prefers_first(logprobs: [f64; 2]) -> SoftLabel {
        SoftLabel::from_logprobs(logprobs[0], logprobs[1]).unwrap()
    }

    /// An order as the judge makes it of its samples: a plain one of one, or one rationale for each.
    fn order(samples: &[[f64; 2]]) -> OrderScores {
        let share = |[first, second]: [f64; 2]| 1.0 / (1.0 + (second - first).exp());
        let rationale = |logprobs: &[f64; 2]| Rationale {
            text: "because".into(),
            verdict_logprobs: logprobs.to_vec(),
            prefers_first: Some(prefers_first(*logprobs)),
        };
        let probability =
            |i: usize| mean(&samples.iter().map(|sample| sample[i].exp()).collect::<Vec<_>>());
        let (verdict_logprobs, rationales) = match samples {
            [one] => (*one, Vec::new()),
            several => {
                let logprobs = [0, 1].map(|i| probability(i).ln());
                (logprobs, several.iter().map(rationale).collect())
            }
        };
        let shares: Vec<f64> = samples.iter().map(|sample| share(*sample)).collect();
        OrderScores {
            verdict_logprobs,
            prefers_first: SoftLabel::new(mean(&shares)).unwrap(),
            prompt_tokens: 9,
            completion_tokens: 0,
            rationales,
        }
    }

    fn comparison(ab: &[[f64; 2]], ba: &[[f64; 2]]) -> Comparison {
        let (ab, ba) = (order(ab), order(ba));
        Comparison {
            label: SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first),
            ab,
            ba,
        }
    }

    /// Two samples an order.
    fn reasoned() -> Comparison {
        comparison(&[[-0.1, -2.5], [-1.5, -0.4]], &[[-1.7, -0.3], [-0.2, -1.9]])
    }

    fn label(rule: Rule, comparison: &Comparison) -> f64 {
        rule.label(comparison).unwrap().value()
    }

    fn near(x: f64, y: f64) {
        // Two roundings to the grid.
        assert!((x - y).abs() <= 2.0 * STEP, "{x} is not {y}");
    }

    fn samples() -> impl Strategy<Value = Vec<[f64; 2]>> {
        proptest::collection::vec([-30.0..0.0, -30.0..0.0], 1..6)
    }

    proptest! {
        #[test]
        fn the_samples_make_the_label_on_record(ab in samples(), ba in samples()) {
            let comparison = comparison(&ab, &ba);
            let made = Rule::default().of_samples(&comparison).unwrap().value();
            let recorded = comparison.label.value();
            // Samples are rounded before their mean is; one alone is not rounded again.
            let tolerance = if ab.len() == 1 && ba.len() == 1 { 0.0 } else { STEP };
            prop_assert!((made - recorded).abs() <= tolerance, "{made} is not {recorded}");
            prop_assert_eq!(label(Rule::default(), &comparison), recorded);
        }

        #[test]
        fn exchanging_the_candidates_exchanges_the_label_under_every_rule(
            ab in samples(),
            ba in samples(),
            temperature in 0.5..3.0,
        ) {
            for combine in [Combine::Mean, Combine::LogOdds, Combine::Vote] {
                let rule = Rule { combine, temperature, ..Rule::default() };
                let sum = label(rule, &comparison(&ab, &ba)) + label(rule, &comparison(&ba, &ab));
                // One step of the grid, where log-odds are rounded to it.
                prop_assert!((sum - 1.0).abs() <= STEP, "{rule:?}: {sum}");
            }
        }
    }

    #[test]
    fn the_label_on_record_stands_where_an_orders_mean_was_clamped() {
        let mut clamped = reasoned();
        for order in [&mut clamped.ab, &mut clamped.ba] {
            order.prefers_first = order.prefers_first.clamped(0.4);
            for rationale in &mut order.rationales {
                rationale.prefers_first = rationale.prefers_first.map(|p| p.clamped(0.4));
            }
        }
        let Comparison { ab, ba, .. } = &clamped;
        clamped.label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
        assert_ne!(Rule::default().of_samples(&clamped).unwrap(), clamped.label);
        assert_eq!(label(Rule::default(), &clamped), clamped.label.value());
    }

    #[test]
    fn one_order_one_sample_and_votes() {
        let all = reasoned();
        let p = |order: &OrderScores, i: usize| order.rationales[i].prefers_first.unwrap().value();
        let (ab, ba) = ([0, 1].map(|i| p(&all.ab, i)), [0, 1].map(|i| p(&all.ba, i)));
        let only = |orders| Rule { orders, ..Rule::default() };
        near(label(only(Orders::Ab), &all), (ab[0] + ab[1]) / 2.0);
        near(label(only(Orders::Ba), &all), 1.0 - (ba[0] + ba[1]) / 2.0);
        let first = Rule { samples: Samples::First, ..Rule::default() };
        near(label(first, &all), (ab[0] + 1.0 - ba[0]) / 2.0);
        // A wins one of two samples in each order.
        let vote = Rule { combine: Combine::Vote, ..Rule::default() };
        assert_eq!(label(vote, &all), 0.5);
        // ... and with the first samples alone, both.
        assert_eq!(label(Rule { samples: Samples::First, ..vote }, &all), 1.0);
    }

    #[test]
    fn log_odds_are_averaged_and_temperature_divides_them() {
        let both = comparison(&[[-0.5, -2.5]], &[[-1.5, -0.5]]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        near(label(Rule { combine: Combine::LogOdds, ..Rule::default() }, &both), sigmoid(1.5));
        let soft = Rule { temperature: 2.0, ..Rule::default() };
        near(label(soft, &both), (sigmoid(1.0) + sigmoid(0.5)) / 2.0);
    }

    #[test]
    fn polarity_is_that_of_the_stored_probability() {
        // "Which is worse?": the likelier verdict names the first, so the second is preferred.
        let mut worse = comparison(&[[-0.1, -3.0]], &[[-0.1, -3.0]]);
        worse.ab.prefers_first = worse.ab.prefers_first.swapped();
        let rule = Rule { combine: Combine::LogOdds, orders: Orders::Ab, ..Rule::default() };
        near(label(rule, &worse), worse.ab.prefers_first.value());
        // All clamped to a tie: nothing tells the polarity, and no side is taken.
        worse.ab.prefers_first = SoftLabel::new(0.5).unwrap();
        assert_eq!(label(rule, &worse), 0.5);
    }

    #[test]
    fn what_cannot_be_combined_is_an_error_and_never_a_tie() {
        for never in [f64::MIN, f64::NEG_INFINITY] {
            let both = comparison(&[[0.0, never]], &[[0.0, never]]);
            let geometric = Rule { combine: Combine::LogOdds, ..Rule::default() };
            assert!(geometric.label(&both).is_err());
            assert!(Rule { temperature: 0.0, ..Rule::default() }.label(&both).is_err());
        }
        let mut silent = reasoned();
        silent.ba.rationales[1].prefers_first = None;
        assert!(Rule { combine: Combine::Vote, ..Rule::default() }.label(&silent).is_err());
    }
}
