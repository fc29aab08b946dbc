//! What was answered at all: scored or not and why, how much the verdict tokens had, what it cost.

use crate::arm::{Answer, Arm, Price};
use crate::sample::groups;
use rlaif_stats::{Share, quantile};
use rlaif_types::{Judgement, UnscorableReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Counts over all answers of an arm, repetitions included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// Pairs.
    pub pairs: usize,
    /// Groups of pairs, usually prompts.
    pub groups: usize,
    /// Pairs that people judged.
    pub with_human: usize,
    /// Answers asked for.
    pub answers: usize,
    /// Answers that could not be scored; they are in no other number.
    pub unscorable: Share,
    /// The same by reason.
    pub unscorable_by_reason: BTreeMap<UnscorableReason, usize>,
    /// Probability of the verdict tokens; none where nothing was scored.
    pub mass: Option<Mass>,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// Mean length of a rationale, characters.
    pub mean_rationale_chars: Option<f64>,
    /// Cost of the scored answers; none without a price.
    pub dollars: Option<f64>,
    /// Cost of one of them.
    pub dollars_per_label: Option<f64>,
}

/// Probability that the verdict tokens had together, in the order in which they had less.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mass {
    /// Least, 5 %, 25 %, 50 % and 75 % quantiles.
    pub quantiles: [f64; 5],
    /// What is little.
    pub floor: f64,
    /// How many answers had less than that.
    pub below_floor: Share,
}

impl Census {
    pub(crate) fn of(arm: &Arm, mass_floor: f64) -> Self {
        let groups = groups(&arm.observations);
        let judgements: Vec<(usize, &Judgement<Answer>)> = arm
            .observations
            .iter()
            .flat_map(|o| {
                let group = groups[o.group.as_str()];
                o.answers().map(move |answer| (group, answer))
            })
            .collect();
        let scored: Vec<(usize, &Answer)> = judgements
            .iter()
            .filter_map(|(group, judgement)| Some((*group, judgement.as_ref().ok()?)))
            .collect();
        let answers: Vec<&Answer> = scored.iter().map(|(_, answer)| *answer).collect();
        let failures = judgements.iter().filter_map(|(_, judgement)| judgement.as_ref().err());
        let mut unscorable_by_reason = BTreeMap::new();
        failures.for_each(|f| *unscorable_by_reason.entry(f.reason).or_default() += 1);
        let rationales: Vec<f64> = answers
            .iter()
            .flat_map(|a| a.rationale_chars.into_iter().flatten())
            .map(|n| n as f64)
            .collect();
        let prompt_tokens = answers.iter().map(|a| a.prompt_tokens).sum();
        let completion_tokens = answers.iter().map(|a| a.completion_tokens).sum();
        let dollars = arm.price.map(|price| price.of(prompt_tokens, completion_tokens));
        Self {
            pairs: arm.observations.len(),
            groups: groups.len(),
            with_human: arm.observations.iter().filter(|o| o.human.is_some()).count(),
            answers: judgements.len(),
            unscorable: Share::of_conditions(judgements.iter().map(|(g, j)| (*g, j.is_err()))),
            unscorable_by_reason,
            mass: Mass::of(&scored, mass_floor),
            prompt_tokens,
            completion_tokens,
            mean_rationale_chars: mean(&rationales),
            dollars,
            dollars_per_label: dollars
                .filter(|_| !answers.is_empty())
                .map(|d| d / answers.len() as f64),
        }
    }
}

impl Mass {
    fn of(scored: &[(usize, &Answer)], floor: f64) -> Option<Self> {
        let mut masses: Vec<f64> = scored.iter().map(|(_, answer)| answer.mass).collect();
        masses.sort_by(f64::total_cmp);
        let least = *masses.first()?;
        let at = |q: f64| quantile(&masses, q).unwrap_or(least);
        Some(Self {
            quantiles: [0.0, 0.05, 0.25, 0.5, 0.75].map(at),
            floor,
            below_floor: Share::of_conditions(scored.iter().map(|(g, a)| (*g, a.mass < floor))),
        })
    }
}

impl Price {
    /// Dollars for so many tokens.
    pub fn of(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        let thousands = |tokens: u64| tokens as f64 / 1000.0;
        thousands(prompt_tokens) * self.input_per_1k
            + thousands(completion_tokens) * self.output_per_1k
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
