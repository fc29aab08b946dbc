//! Rewards that are a weighted sum: its parts as the job file writes them, and the sum.
//!
//! Every job's reward is such a sum to the machine: a job with one source has one part of weight 1, which
//! changes no bit.

use crate::RewardSource;
use rlaif_template::Asking;
use rlaif_types::{Judgement, Problems, Unscorable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One part of a mixture of rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardPart {
    /// What it is called in `metrics.jsonl`; without a name, by its template, or `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who gives it.
    pub source: PartSource,
    /// Its weight in the sum; below 0 for what is to be avoided.
    pub weight: f64,
    /// What the labeler is asked for this part: a built-in template or a .toml file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// How the template is asked.
    #[serde(default, skip_serializing_if = "Asking::is_plain")]
    pub asking: Asking,
}

/// Who gives a part of a reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartSource {
    /// The reward model.
    Model,
    /// The labeler, by a template that rates one response: on a scale or by a rubric.
    Labeler,
    /// The labeler, by a template that compares: the share of match-ups won within the group.
    Pairwise,
}

/// Where the means of a mixture's parts stand in `metrics.jsonl`, each before `NAME/mean`, as TRL writes
/// those of several reward functions. They follow from rewards, not from what a learner measures.
pub const PART_METRICS: &str = "rewards/";

impl RewardPart {
    /// The only part of a reward that is no mixture.
    fn alone(source: PartSource) -> Self {
        Self { name: None, source, weight: 1.0, template: None, asking: Asking::default() }
    }

    /// Its name in metrics and reports.
    pub fn name(&self) -> &str {
        let by_source = match self.source {
            PartSource::Model => "model",
            PartSource::Labeler => "labeler",
            PartSource::Pairwise => "pairwise",
        };
        self.name.as_deref().or(self.template.as_deref()).unwrap_or(by_source)
    }

    /// Name of its mean in `metrics.jsonl`.
    pub fn metric(&self) -> String {
        format!("{PART_METRICS}{}/mean", self.name())
    }

    /// Whether the labeler gives it.
    pub fn is_the_labelers(&self) -> bool {
        self.source != PartSource::Model
    }

    fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let (weight, named) = (self.weight, self.name.as_deref() != Some(""));
        let what = format!("must be a number other than 0, not {weight}");
        problems.check(weight.is_finite() && weight != 0.0, "weight", what);
        problems.check(
            named,
            "name",
            "must not be empty; without the setting the template names it",
        );
        if self.is_the_labelers() {
            let what = "is missing: the labeler must be asked something";
            problems.check(self.template.is_some(), "template", what);
        } else {
            let unasked = self.template.is_none() && self.asking.is_plain();
            let what =
                "is for parts that the labeler judges; remove it, or choose source = \"labeler\"";
            problems.check(unasked, "template", what);
        }
        problems
    }
}

/// The parts of a job's reward; none where nothing is rewarded.
pub fn parts_of(source: RewardSource, mixture: &[RewardPart]) -> Vec<RewardPart> {
    match source {
        RewardSource::Model => vec![RewardPart::alone(PartSource::Model)],
        RewardSource::Labeler => vec![RewardPart::alone(PartSource::Labeler)],
        RewardSource::Pairwise => vec![RewardPart::alone(PartSource::Pairwise)],
        RewardSource::Preferences => Vec::new(),
        RewardSource::Mixture => mixture.to_vec(),
    }
}

/// All that is senseless about the `[[rl.mixture]]` of a job whose reward comes from `source`.
pub fn problems(source: RewardSource, mixture: &[RewardPart]) -> Problems {
    let mut problems = Problems::default();
    if source != RewardSource::Mixture {
        let what = "has parts of rl.reward = \"mixture\"; remove them, or choose that reward";
        problems.check(mixture.is_empty(), "mixture", what);
        return problems;
    }
    problems.check(!mixture.is_empty(), "reward", "= \"mixture\" needs [[rl.mixture]] parts");
    let mut names = BTreeSet::new();
    for (i, part) in mixture.iter().enumerate() {
        let mut of_part = part.problems();
        let what =
            format!("{:?} is that of another part; give each a name of its own", part.name());
        of_part.check(names.insert(part.name()), "name", what);
        problems.section(&format!("mixture[{i}]"), of_part);
    }
    let models = mixture.iter().filter(|part| part.source == PartSource::Model).count();
    let what = "has several parts of source \"model\", and a job trains one reward model";
    problems.check(models <= 1, "mixture", what);
    problems
}

/// The weighted sum of what each part gave the same items, in the items' order. An item that one part
/// could not judge is unscorable: the sum of the others is another reward.
pub fn mix(parts: &[RewardPart], given: &[&[Judgement<f64>]]) -> Vec<Judgement<f64>> {
    let items = given.iter().map(|rewards| rewards.len()).min().unwrap_or(0);
    (0..items).map(|item| sum(parts, given, item)).collect()
}

fn sum(parts: &[RewardPart], given: &[&[Judgement<f64>]], item: usize) -> Judgement<f64> {
    let mut sum = None;
    for (part, rewards) in parts.iter().zip(given) {
        let reward = rewards[item].as_ref().map_err(|why| named(parts, part, why))?;
        let weighted = part.weight * reward;
        // Not from 0, which would make another bit of -0.
        sum = Some(sum.map_or(weighted, |sum| sum + weighted));
    }
    Ok(sum.unwrap_or_default())
}

/// The failure, with the part that it is of where there are several.
fn named(parts: &[RewardPart], part: &RewardPart, why: &Unscorable) -> Unscorable {
    match parts {
        [_] => why.clone(),
        _ => Unscorable::new(why.reason, format!("{}: {}", part.name(), why.detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::UnscorableReason;

    fn part(source: PartSource, weight: f64, template: Option<&str>) -> RewardPart {
        RewardPart { weight, template: template.map(str::to_owned), ..RewardPart::alone(source) }
    }

    #[test]
    fn a_reward_is_the_weighted_sum_and_what_one_part_could_not_judge_has_none() {
        let parts =
            [part(PartSource::Model, 0.5, None), part(PartSource::Labeler, -2.0, Some("tone"))];
        let mute = Unscorable::new(UnscorableReason::NoVerdict, "it said neither");
        let (model, tone) = ([Ok(3.0), Ok(1.0)], [Ok(0.25), Err(mute)]);
        let mixed = mix(&parts, &[&model, &tone]);
        assert_eq!(mixed[0], Ok(1.0));
        let why = mixed[1].as_ref().unwrap_err();
        assert_eq!(
            (why.reason, why.detail.as_str()),
            (UnscorableReason::NoVerdict, "tone: it said neither")
        );
    }

    #[test]
    fn a_source_alone_keeps_its_bits_and_its_words() {
        let alone = parts_of(RewardSource::Labeler, &[]);
        let mute = Err(Unscorable::new(UnscorableReason::BadItem, "empty"));
        let given = [Ok(-0.0), Ok(0.1), mute];
        let mixed = mix(&alone, &[&given]);
        assert_eq!(mixed, given);
        assert!(mixed[0].as_ref().unwrap().is_sign_negative());
    }
}
