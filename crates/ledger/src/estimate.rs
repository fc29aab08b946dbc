//! What a run will take, before it begins: tokens, money and time, each with an interval where it comes
//! from a sample.

use rlaif_types::{HUMAN_LABEL_PER_50_WORDS, Money, Price, Usage};
use serde::Serialize;

/// What is going to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Questions without those that the ledger answers.
    pub items: u64,
    /// Prompts of each: both orders of a pair, or each question about a response.
    pub prompts: u64,
    /// Rationales that are drawn for each prompt; 1 without self-consistency.
    pub samples: u64,
    /// Tokens that the labeler writes each time.
    pub completion_tokens: Interval,
}

/// What a sample of the questions showed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampled {
    /// Tokens of each sampled question's prompt, the mean of several.
    pub prompt_tokens: Vec<f64>,
    /// Words of each sampled question: what a person would read.
    pub words: Vec<f64>,
    /// Seconds that questions took, where some were asked; several at a time count as their share.
    pub seconds: Vec<f64>,
}

/// A count and the range in which it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: u64,
    /// Best guess.
    pub expected: u64,
    /// Upper end.
    pub high: u64,
}

/// What a run will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Questions.
    pub items: u64,
    /// Calls of the labeler.
    pub calls: u64,
    /// Tokens read.
    pub prompt_tokens: Interval,
    /// Tokens written.
    pub completion_tokens: Interval,
    /// Money: lower end, best guess, upper end.
    pub cost: [Money; 3],
    /// What people would be paid for the same labels (paper section 1).
    pub human_cost: Money,
    /// Seconds; none where nothing was measured.
    pub seconds: Option<Interval>,
}

impl Interval {
    /// Exactly `count`.
    pub fn exactly(count: u64) -> Self {
        Self { low: count, expected: count, high: count }
    }

    /// The sum over `population` things of which `sample` was measured; none without a sample.
    ///
    /// Normal approximation with Student's t where the sample is small, and the finite population's
    /// correction: who has measured all of them knows the sum.
    pub fn of_total(sample: &[f64], population: u64) -> Option<Self> {
        let n = sample.len() as f64;
        let population = population as f64;
        if sample.is_empty() {
            return None;
        }
        let mean = sample.iter().sum::<f64>() / n;
        let total = mean * population;
        let half = if population <= n {
            0.0
        } else if sample.len() == 1 {
            // One value says nothing about the spread.
            total
        } else {
            let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let correction = (population - n) / (population - 1.0);
            t_95(n - 1.0) * population * (variance / n * correction).sqrt()
        };
        let count = |x: f64| x.max(0.0).round() as u64;
        Some(Self { low: count(total - half), expected: count(total), high: count(total + half) })
    }

    /// `factor` times as much.
    pub fn times(self, factor: u64) -> Self {
        self.each(|count| count.saturating_mul(factor))
    }

    fn each(self, f: impl Fn(u64) -> u64) -> Self {
        Self { low: f(self.low), expected: f(self.expected), high: f(self.high) }
    }
}

/// Two-sided 95 % quantile of Student's t: 1.96 and two terms of its expansion in 1 / degrees, raised
/// to the exact value for the two smallest, where that is too low.
fn t_95(degrees: f64) -> f64 {
    const Z: f64 = 1.959_964;
    match degrees {
        d if d < 1.5 => 12.706,
        d if d < 2.5 => 4.303,
        d => {
            let first = (Z.powi(3) + Z) / (4.0 * d);
            let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / (96.0 * d * d);
            Z + first + second
        }
    }
}

impl Estimate {
    /// What `plan` takes at `price`; none where no prompt was sampled.
    pub fn of(plan: &Plan, sampled: &Sampled, price: &Price) -> Option<Self> {
        let calls_per_item = plan.prompts.saturating_mul(plan.samples);
        let calls = plan.items.saturating_mul(calls_per_item);
        let prompt_tokens =
            Interval::of_total(&sampled.prompt_tokens, plan.items)?.times(calls_per_item);
        let completion_tokens = plan.completion_tokens.times(calls);
        let seconds = Interval::of_total(&sampled.seconds, plan.items);
        let cost = |end: fn(&Interval) -> u64| {
            price.cost(&Usage {
                prompt_tokens: end(&prompt_tokens),
                cached_tokens: 0,
                completion_tokens: end(&completion_tokens),
                device_ms: seconds.map_or(0, |s| end(&s).saturating_mul(1000)),
            })
        };
        let words = Interval::of_total(&sampled.words, plan.items).map_or(0, |w| w.expected);
        Some(Self {
            items: plan.items,
            calls,
            prompt_tokens,
            completion_tokens,
            cost: [cost(|i| i.low), cost(|i| i.expected), cost(|i| i.high)],
            human_cost: Money::from_picodollars(
                HUMAN_LABEL_PER_50_WORDS.times(words).picodollars() / 50,
            ),
            seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rlaif_types::Prices;

    #[test]
    fn the_papers_labels_cost_0_057_by_model_and_0_67_by_hand() {
        let table = "[prices.\"gpt-4\"]\ninput_per_1k = 0.03\noutput_per_1k = 0.06";
        let price = Prices::parse(table).unwrap().of("https://api/v1", "gpt-4").unwrap();
        let plan =
            Plan { items: 1, prompts: 2, samples: 1, completion_tokens: Interval::exactly(61) };
        let sampled =
            Sampled { prompt_tokens: vec![830.0], words: vec![304.0], ..Sampled::default() };
        let estimate = Estimate::of(&plan, &sampled, &price).unwrap();
        assert_eq!(estimate.calls, 2);
        assert!(estimate.cost.iter().all(|cost| cost.to_string() == "0.05712"));
        assert_eq!(estimate.human_cost.to_string(), "0.6688");
    }

    #[test]
    fn self_consistency_and_both_orders_multiply_calls() {
        let plan = Plan {
            items: 10,
            prompts: 2,
            samples: 4,
            completion_tokens: Interval { low: 20, expected: 50, high: 200 },
        };
        let sampled = Sampled {
            prompt_tokens: vec![100.0; 10],
            seconds: vec![0.5; 10],
            ..Sampled::default()
        };
        let estimate = Estimate::of(&plan, &sampled, &Price::default()).unwrap();
        assert_eq!(estimate.calls, 80);
        assert_eq!(estimate.prompt_tokens, Interval::exactly(8000));
        let written = Interval { low: 1600, expected: 4000, high: 16_000 };
        assert_eq!(estimate.completion_tokens, written);
        assert_eq!(estimate.seconds, Some(Interval::exactly(5)));
    }

    #[test]
    fn without_a_sample_nothing_is_claimed() {
        assert_eq!(Interval::of_total(&[], 10), None);
        // Mean 2, s = 1, t(2) = 4.303: 200 +- 4.303 * 100 / sqrt(3) * sqrt(97 / 99).
        let found = Interval::of_total(&[1.0, 2.0, 3.0], 100).unwrap();
        assert_eq!(found, Interval { low: 0, expected: 200, high: 446 });
    }

    proptest! {
        #[test]
        fn the_guess_is_within_its_interval(
            sample in prop::collection::vec(0.0..1e4, 1..50),
            population in 1u64..100_000,
        ) {
            let found = Interval::of_total(&sample, population).unwrap();
            prop_assert!(found.low <= found.expected && found.expected <= found.high);
        }
    }
}
