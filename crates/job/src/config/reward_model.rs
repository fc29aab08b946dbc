//! `[reward_model]`: the labels that a reward model learns from, how it learns them, and how it is held against
//! the labeler.

use super::is_default;
use rlaif_data::Record;
use rlaif_types::{
    LabelSource, OptimizerConfig, PairOrder, PairWeighting, Plateau, Problems, RewardObjective,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The reward model and the labels it learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardModelConfig {
    /// Whose labels it learns from: models' (`ai`), the labeler's on sampled pairs and those of `data.preferences`
    /// where that is named; people's in `data.preferences` (`human`: nothing is sampled or labelled); or both, the
    /// model's where a given pair has one of each (`mixed`).
    #[serde(skip_serializing_if = "is_default")]
    pub labels: LabelSource,
    /// Learn soft labels as hard ones, all for the response that they prefer; one that prefers neither stays a half. How
    /// sure they were still says how much a pair counts and when its turn comes, and what is held out keeps its labels.
    #[serde(skip_serializing_if = "is_default")]
    pub harden: bool,
    /// Pairs of responses to sample and label; 0 where the labels of `data.preferences` are all.
    pub pairs: usize,
    /// Share of the labelled pairs kept back to measure accuracy and calibration, with all pairs of their prompts:
    /// as near to it as whole prompts come.
    pub heldout_fraction: f64,
    /// Passes over the labels.
    pub epochs: usize,
    /// Pairs in a step.
    pub batch_size: usize,
    /// The order in which pairs are learned.
    #[serde(skip_serializing_if = "is_default")]
    pub order: PairOrder,
    /// How much a pair counts.
    #[serde(skip_serializing_if = "is_default")]
    pub weighting: PairWeighting,
    /// A given pair counts as much as this field of its record says, "weight" or "confidence" for example: a number of 0
    /// or more, which every record then has. Pairs that the job samples count 1; what is held out is measured unweighted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_field: Option<String>,
    /// Compute a pair's prompt once for both responses: the same numbers but for the order of sums, in less
    /// time.
    #[serde(skip_serializing_if = "is_default")]
    pub share_prompts: bool,
    /// What it starts from: `sft` (the policy's start, fine-tuned where the job has `[sft]`), `base` (`policy.model` as
    /// it is), or another model, named as `policy.model` is. A reward model goes on with its head, another model begins
    /// with one of zeros.
    #[serde(skip_serializing_if = "is_default")]
    pub from: RewardStart,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// What is minimised beside the labels' cross-entropy.
    #[serde(skip_serializing_if = "is_default")]
    pub objective: RewardObjective,
    /// When it is enough; all epochs where this section is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau: Option<Plateau>,
    /// Whether it is held against the labeler while the policy moves away; not without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<StalenessConfig>,
}

impl Default for RewardModelConfig {
    fn default() -> Self {
        Self {
            labels: LabelSource::default(),
            harden: false,
            pairs: 1024,
            heldout_fraction: 0.1,
            epochs: 2,
            batch_size: 32,
            order: PairOrder::default(),
            weighting: PairWeighting::default(),
            weight_field: None,
            // Jobs of before would make other bits.
            share_prompts: false,
            from: RewardStart::default(),
            optimizer: OptimizerConfig::default(),
            objective: RewardObjective::default(),
            plateau: None,
            staleness: None,
        }
    }
}

impl RewardModelConfig {
    /// Whether pairs are sampled for the labeler to compare. People are not asked by a job.
    pub fn samples_pairs(&self) -> bool {
        self.labels != LabelSource::Human && self.pairs > 0
    }

    /// How much the pair of this record counts, beside how sure its label is: 1 without a `weight_field`.
    ///
    /// # Errors
    /// When the record has no such field, or something else than a weight in it.
    pub fn weight_of(&self, record: &Record) -> Result<f32, String> {
        let Some(field) = &self.weight_field else { return Ok(1.0) };
        let weight = record.get(field).and_then(Value::as_f64).map(|weight| weight as f32);
        weight.filter(|weight| *weight >= 0.0 && weight.is_finite()).ok_or_else(|| {
            format!("the weight field {field:?} must be there and a number of 0 or more")
        })
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("batch_size", self.batch_size);
        let fraction = (0.0..1.0).contains(&self.heldout_fraction);
        problems.check(fraction, "heldout_fraction", "must be in [0, 1)");
        problems.section("optimizer", self.optimizer.problems());
        problems.section("objective", self.objective.problems());
        let once = self.weight_field.is_none() || self.weighting == PairWeighting::Equal;
        let what = "and weighting both say how much a pair counts; leave one out";
        problems.check(once, "weight_field", what);
        let without =
            self.from.model().is_some_and(|name| name.is_empty() || name.ends_with(".toml"));
        problems.check(!without, "from", "needs a model whose weights are here");
        if let Some(plateau) = &self.plateau {
            problems.section("plateau", plateau.problems());
        }
        if let Some(staleness) = &self.staleness {
            problems.check_positive("staleness.every", staleness.every);
            problems.check_positive("staleness.pairs", staleness.pairs);
        }
        problems
    }
}

/// What a reward model starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RewardStart {
    /// What the policy's reinforcement learning starts from.
    #[default]
    Sft,
    /// The job's policy before any training.
    Base,
    /// A model by its name.
    Model(String),
}

impl RewardStart {
    /// The model's name, where it is neither the policy nor its base.
    pub fn model(&self) -> Option<&String> {
        match self {
            Self::Model(name) => Some(name),
            Self::Sft | Self::Base => None,
        }
    }
}

impl From<String> for RewardStart {
    fn from(name: String) -> Self {
        match name.as_str() {
            "sft" => Self::Sft,
            "base" => Self::Base,
            _ => Self::Model(name),
        }
    }
}

impl From<RewardStart> for String {
    fn from(start: RewardStart) -> Self {
        match start {
            RewardStart::Sft => "sft".into(),
            RewardStart::Base => "base".into(),
            RewardStart::Model(name) => name,
        }
    }
}

/// How often the reward model is held against the labeler on what the policy writes (paper section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StalenessConfig {
    /// Steps between measurements; the start and the last step are measured too.
    pub every: usize,
    /// Pairs of responses to held-out prompts that the labeler compares, each time.
    pub pairs: usize,
}

impl Default for StalenessConfig {
    fn default() -> Self {
        Self { every: 20, pairs: 64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reward_model_does_not_use_is_not_in_its_job() {
        let plain = toml::to_string(&RewardModelConfig::default()).unwrap();
        for field in [
            "labels",
            "harden",
            "from",
            "objective",
            "order",
            "weighting",
            "weight_field",
            "plateau",
            "share_prompts",
            "staleness",
        ] {
            assert!(!plain.contains(field), "jobs of before would have another hash: {plain}");
        }
        let used = "harden = true\norder = 'easy_first'\nweighting = 'sureness'\n[objective]\ncenter = 0.01\n\
            [plateau]\npatience = 2\n[staleness]\nevery = 5\n";
        let config: RewardModelConfig = toml::from_str(used).unwrap();
        assert!(config.harden);
        assert_eq!((config.order, config.objective.center), (PairOrder::EasyFirst, 0.01));
        assert_eq!(config.plateau.unwrap().patience, 2);
        assert_eq!(config.staleness, Some(StalenessConfig { every: 5, pairs: 64 }));
        let again = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<RewardModelConfig>(&again).unwrap(), config);
    }

    #[test]
    fn a_pair_counts_as_its_record_says_where_a_field_is_named() {
        let record = serde_json::from_str(r#"{"w": 0.25, "below": -1, "words": "much"}"#).unwrap();
        let weight = |field: Option<&str>| {
            let weight_field = field.map(str::to_owned);
            RewardModelConfig { weight_field, ..RewardModelConfig::default() }.weight_of(&record)
        };
        assert_eq!((weight(None), weight(Some("w"))), (Ok(1.0), Ok(0.25)));
        for senseless in ["below", "words", "missing"] {
            let why = weight(Some(senseless)).unwrap_err();
            assert!(why.contains(senseless) && why.contains("0 or more"), "{why}");
        }
    }

    #[test]
    fn a_reward_model_starts_from_the_policys_start_its_base_or_a_model_of_its_own() {
        for (name, expected) in [
            ("sft", RewardStart::Sft),
            ("base", RewardStart::Base),
            ("runs/a/checkpoints/reward", RewardStart::Model("runs/a/checkpoints/reward".into())),
        ] {
            let config: RewardModelConfig = toml::from_str(&format!("from = '{name}'")).unwrap();
            assert_eq!(config.from, expected);
            assert!(config.problems().is_empty(), "{}", config.problems());
            let again = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<RewardModelConfig>(&again).unwrap(), config);
        }
        let endpoint: RewardModelConfig = toml::from_str("from = 'gpt.toml'").unwrap();
        let expected = "from needs a model whose weights are here";
        assert_eq!(endpoint.problems().to_string(), expected);
    }
}
