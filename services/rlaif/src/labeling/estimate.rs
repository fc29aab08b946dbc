//! What labeling will take, before it begins.

use anyhow::Result;
use rlaif_clerk::Clerk;
use rlaif_judge::Judge;
use rlaif_ledger::{Estimate, Interval, Plan, Sampled};
use rlaif_types::{ContentHash, Pair};
use std::collections::BTreeMap;
use std::time::Instant;

/// Pairs whose prompts are measured.
const SAMPLE: usize = 256;
/// Of these, pairs that a model of this process is asked, to see how long it takes.
const TIMED: usize = 4;
/// What the paper's labeler wrote, in tokens (section 1).
const USUAL_RATIONALE: u64 = 61;
const ORDERS: u64 = 2;

/// Collects what has to be known of the pairs.
#[derive(Default)]
pub struct Sampling {
    pairs: u64,
    /// Those that the ledger does not answer.
    unknown: u64,
    /// The pairs with the smallest hashes among these: a sample that does not depend on their order.
    sample: BTreeMap<ContentHash, Pair>,
}

impl Sampling {
    /// Takes in the next pairs.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn take(&mut self, clerk: &Clerk, judge: &Judge, pairs: &[Pair]) -> Result<()> {
        self.pairs += pairs.len() as u64;
        for (pair, known) in pairs.iter().zip(clerk.knows_pairs(judge, pairs)?) {
            if known {
                continue;
            }
            self.unknown += 1;
            self.sample.insert(judge.label_id(pair).0, pair.clone());
            if self.sample.len() > SAMPLE {
                self.sample.pop_last();
            }
        }
        Ok(())
    }

    /// What asking `judge` about them will take. A model of this process is asked about a few of them, which
    /// the ledger keeps; an endpoint is asked nothing.
    ///
    /// # Errors
    /// When the judge has no price, or cannot be asked.
    pub fn estimate(&self, clerk: &Clerk, judge: &Judge) -> Result<String> {
        let name = &judge.labeler().name;
        let ledger = format!("{} pairs, {} to ask", self.pairs, self.unknown);
        if self.unknown == 0 {
            return Ok(format!("{name}: {ledger}: the ledger has all labels\n"));
        }
        let reasoning = judge.asking().reasoning.as_ref();
        // An endpoint writes the verdict; a model of this process only weighs it.
        let verdict = u64::from(!judge.labeler().is_local());
        let completion_tokens = reasoning.map_or(Interval::exactly(verdict), |reasoning| {
            let high = reasoning.max_tokens as u64 + verdict;
            Interval { low: 1, expected: USUAL_RATIONALE.min(high), high }
        });
        // An endpoint reads the prompt again for the verdict after a rationale; a model of this process
        // keeps it.
        let readings = if reasoning.is_some() && !judge.labeler().is_local() { 2.0 } else { 1.0 };
        let plan = Plan {
            items: self.unknown,
            orders: ORDERS,
            samples: reasoning.map_or(1, |reasoning| reasoning.samples as u64),
            completion_tokens,
        };
        let prompts = self.sample.values().filter_map(|pair| judge.compare_prompt_tokens(pair));
        let sampled = Sampled {
            prompt_tokens: prompts.map(|tokens| tokens * readings).collect(),
            words: self.sample.values().map(words).collect(),
            seconds: self.seconds(clerk, judge)?,
        };
        let price = clerk.price(judge)?;
        Ok(match Estimate::of(&plan, &sampled, &price) {
            Some(estimate) => describe(name, &ledger, &estimate, &clerk.prices().currency),
            None => format!("{name}: {ledger}: none of them can be asked about\n"),
        })
    }

    fn seconds(&self, clerk: &Clerk, judge: &Judge) -> Result<Vec<f64>> {
        if !judge.labeler().is_local() {
            return Ok(Vec::new());
        }
        let timed = self.sample.values().take(TIMED).map(|pair| {
            let started = Instant::now();
            clerk.compare(judge, std::slice::from_ref(pair), None)?;
            Ok(started.elapsed().as_secs_f64())
        });
        timed.collect()
    }
}

/// What a person would have to read.
fn words(pair: &Pair) -> f64 {
    let context = pair.prompt.as_context();
    let texts = [context.as_str(), &pair.response_a, &pair.response_b];
    texts.iter().map(|text| text.split_whitespace().count()).sum::<usize>() as f64
}

fn describe(name: &str, ledger: &str, estimate: &Estimate, currency: &str) -> String {
    let range = |Interval { low, expected, high }: Interval| match low == high {
        true => expected.to_string(),
        false => format!("{expected} ({low} to {high})"),
    };
    let [low, expected, high] = estimate.cost.map(|cost| cost.rounded_to_cents());
    let seconds = estimate.seconds.map_or("not known: endpoints are not asked".to_owned(), |s| {
        format!("{} s on this machine, one pair at a time", range(s))
    });
    format!(
        "{name}: {ledger}\n  calls          {}\n  tokens read    {}\n  tokens written {}\n  cost           \
         {expected} {currency} ({low} to {high}); people's labels: {} USD\n  time           {seconds}\n",
        estimate.calls,
        range(estimate.prompt_tokens),
        range(estimate.completion_tokens),
        estimate.human_cost.rounded_to_cents(),
    )
}
