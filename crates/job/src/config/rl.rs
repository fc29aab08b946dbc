//! `[rl]`: where rewards come from, and what learns from them.

use super::{SelectionConfig, is_default};
use crate::mixture::{self, PartSource, RewardPart};
use rlaif_types::{
    AdaptiveKl, Algorithm, AlgorithmKind, DpoConfig, GrpoConfig, LabelSource, OnlineDpoConfig,
    PolicyLearning, PpoConfig, Problems, ReinforceConfig, RewardShaping, RlooConfig,
};
use serde::{Deserialize, Serialize};

/// Where rewards come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The reward model trained on the labels (paper section 3).
    Model,
    /// The labeler's rating itself: d-RLAIF (paper section 4).
    Labeler,
    /// The share of match-ups against the group's other responses that the labeler gives it.
    Pairwise,
    /// None: the policy learns from the preferences of a file.
    Preferences,
    /// A weighted sum of the parts in `[[rl.mixture]]`.
    Mixture,
}

impl RewardSource {
    /// As job files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Labeler => "labeler",
            Self::Pairwise => "pairwise",
            Self::Preferences => "preferences",
            Self::Mixture => "mixture",
        }
    }
}

/// Reinforcement learning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RlConfig {
    /// Where rewards come from.
    pub reward: RewardSource,
    /// The parts of `reward = "mixture"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mixture: Vec<RewardPart>,
    /// Whose labels of `data.preferences` are learned with `reward = "preferences"`: models' (`ai`), people's
    /// (`human`), or by default both, the model's where a pair has one of each (`mixed`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelSource>,
    /// What learns from rewards or preferences; its settings are the table of the same name, and only that one may
    /// be given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: AlgorithmKind,
    /// Optimisation steps; 0 makes a job without reinforcement learning.
    pub steps: usize,
    /// Responses in a step, those of all groups together; pairs, where the policy learns from given
    /// preferences.
    pub batch_size: usize,
    /// Responses to each of a step's prompts; `batch_size` is a multiple of it. At least 2 where responses are
    /// compared: `rloo`, `grpo`, `online_dpo`, and `reward = "pairwise"`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub group_size: usize,
    /// Tokens in memory at once while training, in every trainer.
    #[serde(default = "default_micro_batch_tokens")]
    pub micro_batch_tokens: usize,
    /// Keep only what goes into each layer while training, in every trainer, and compute the rest again for its
    /// gradients: the same bits in less memory and more time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradient_checkpointing: bool,
    /// Steps between saved training states. The policy's two newest are kept, and the weights of its newest
    /// `max_off_policy_steps + 2` versions; what is older is deleted.
    #[serde(default = "default_checkpoint_every")]
    pub checkpoint_every: usize,
    /// Mean divergence of the policy from its start per token, in nats, at which the run stops.
    #[serde(default = "default_max_kl", skip_serializing_if = "is_default_max_kl")]
    pub max_kl_per_token: f64,
    /// Keep an exponential moving average of the policy's weights with this decay, 0.99 for example; it is what
    /// is evaluated and saved in the end, while rollouts are drawn with the policy itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// What is made of rewards before they are learned from.
    #[serde(default, skip_serializing_if = "RewardShaping::is_plain")]
    pub shaping: RewardShaping,
    /// Which of the policy's versions the job leaves; the last without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionConfig>,
    /// Moves `beta` towards a target; it is fixed without this table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive_kl: Option<AdaptiveKl>,
    /// Settings of `algorithm = "reinforce"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reinforce: Option<ReinforceConfig>,
    /// Settings of `algorithm = "rloo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rloo: Option<RlooConfig>,
    /// Settings of `algorithm = "grpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpo: Option<GrpoConfig>,
    /// Settings of `algorithm = "ppo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ppo: Option<PpoConfig>,
    /// Settings of `algorithm = "online_dpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_dpo: Option<OnlineDpoConfig>,
    /// Settings of `algorithm = "dpo"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpo: Option<DpoConfig>,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

fn default_micro_batch_tokens() -> usize {
    2048
}

fn default_checkpoint_every() -> usize {
    10
}

fn default_max_kl() -> f64 {
    PolicyLearning::MAX_KL_PER_TOKEN
}

fn is_default_max_kl(limit: &f64) -> bool {
    *limit == default_max_kl()
}

impl RlConfig {
    /// What the reward is the sum of; nothing where the policy learns from given preferences.
    pub fn reward_parts(&self) -> Vec<RewardPart> {
        mixture::parts_of(self.reward, &self.mixture)
    }

    /// Whether one of them is given by `source`.
    pub fn rewards_by(&self, source: PartSource) -> bool {
        self.reward_parts().iter().any(|part| part.source == source)
    }

    /// Whose labels are learned where preferences are given.
    pub fn given_labels(&self) -> LabelSource {
        self.labels.unwrap_or(LabelSource::Mixed)
    }

    /// The algorithm with its settings.
    pub fn algorithm(&self) -> Algorithm {
        fn of<T: Clone + Default>(table: Option<&T>) -> T {
            table.cloned().unwrap_or_default()
        }
        match self.algorithm {
            AlgorithmKind::Reinforce => Algorithm::Reinforce(of(self.reinforce.as_ref())),
            AlgorithmKind::Rloo => Algorithm::Rloo(of(self.rloo.as_ref())),
            AlgorithmKind::Grpo => Algorithm::Grpo(of(self.grpo.as_ref())),
            AlgorithmKind::Ppo => Algorithm::Ppo(of(self.ppo.as_ref())),
            AlgorithmKind::OnlineDpo => Algorithm::OnlineDpo(of(self.online_dpo.as_ref())),
            AlgorithmKind::Dpo => Algorithm::Dpo(of(self.dpo.as_ref())),
        }
    }

    /// Fills in the chosen algorithm's table.
    pub(super) fn resolve(&mut self, temperature: f32) {
        match self.algorithm {
            AlgorithmKind::Reinforce => {
                self.reinforce.get_or_insert_default().temperature = temperature;
            }
            AlgorithmKind::Rloo => _ = self.rloo.get_or_insert_default(),
            AlgorithmKind::Grpo => _ = self.grpo.get_or_insert_default(),
            AlgorithmKind::Ppo => _ = self.ppo.get_or_insert_default(),
            AlgorithmKind::OnlineDpo => _ = self.online_dpo.get_or_insert_default(),
            AlgorithmKind::Dpo => _ = self.dpo.get_or_insert_default(),
        }
    }

    /// Settings that make no sense.
    pub(super) fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        for (field, count) in [
            ("batch_size", self.batch_size),
            ("group_size", self.group_size),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            problems.check_positive(field, count);
        }
        let kind = self.algorithm;
        if self.group_size > 0 {
            let what = format!(
                "counts responses and must be a multiple of rl.group_size = {}, not {}",
                self.group_size, self.batch_size
            );
            let whole = self.batch_size.is_multiple_of(self.group_size);
            problems.check(whole, "batch_size", what);
            let what = format!(
                "must be at least 2 with rl.algorithm = \"{kind}\", which compares a prompt's responses"
            );
            problems.check(self.group_size > 1 || !kind.needs_groups(), "group_size", what);
        }
        problems.0.extend(mixture::problems(self.reward, &self.mixture).0);
        let what =
            "goes with rl.reward = \"preferences\" alone; a reward model has reward_model.labels";
        let given = self.reward == RewardSource::Preferences;
        problems.check(self.labels.is_none() || given, "labels", what);
        let limit = self.max_kl_per_token;
        let what = format!("must be positive, not {limit}");
        problems.check(limit > 0.0, "max_kl_per_token", what);
        if let Some(decay) = self.ema_decay {
            let what = format!("must be between 0 and 1, not {decay}");
            problems.check(decay > 0.0 && decay < 1.0, "ema_decay", what);
        }
        problems.section("shaping", self.shaping.problems());
        if let Some(selection) = &self.selection {
            problems.section("selection", selection.problems(self));
        }
        if let Some(adaptive) = &self.adaptive_kl {
            problems.section("adaptive_kl", adaptive.problems());
            let what =
                format!("moves the beta of a divergence; rl.algorithm = \"{kind}\" has none");
            let term = self.algorithm().kl();
            problems.check(term.is_some(), "adaptive_kl", what);
            let what = "= 0 is what rl.adaptive_kl multiplies, so it would stay 0; let it begin above 0, or remove \
                rl.adaptive_kl";
            let moves = term.is_none_or(|term| term.beta != 0.0);
            problems.check(moves, &format!("{kind}.beta"), what);
        }
        problems.section(kind.as_str(), self.algorithm().problems());
        let tables = [
            (AlgorithmKind::Reinforce, self.reinforce.is_some()),
            (AlgorithmKind::Rloo, self.rloo.is_some()),
            (AlgorithmKind::Grpo, self.grpo.is_some()),
            (AlgorithmKind::Ppo, self.ppo.is_some()),
            (AlgorithmKind::OnlineDpo, self.online_dpo.is_some()),
            (AlgorithmKind::Dpo, self.dpo.is_some()),
        ];
        for (table, given) in tables {
            let what = format!(
                "is the table of another algorithm than rl.algorithm = \"{kind}\"; remove it, or \
                 choose that algorithm"
            );
            problems.check(!given || table == kind, table.as_str(), what);
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{DIRECT, load};
    use std::path::Path;

    #[test]
    fn a_job_that_names_no_algorithm_is_written_as_it_always_was() {
        let text = load(DIRECT).unwrap().to_toml();
        let rl = text.split("[rl]").nth(1).unwrap().split("[evaluate]").next().unwrap();
        for new in [
            "gradient_checkpointing",
            "ema_decay",
            "labels",
            "algorithm",
            "group_size",
            "max_kl",
            "shaping",
            "adaptive",
            "grpo",
            "estimator",
            "selection",
        ] {
            assert!(!rl.contains(new), "{rl}");
        }
        assert!(rl.contains("[rl.reinforce]") && rl.contains("kl_placement"), "{rl}");
    }

    #[test]
    fn an_algorithm_is_chosen_by_its_name_and_has_the_table_of_that_name() {
        let text = DIRECT.replacen("batch_size = 2", "batch_size = 8\ngroup_size = 4", 1);
        let text = text + "algorithm = 'grpo'\nadaptive_kl.target = 6.0\n[rl.grpo]\nepochs = 2\n";
        let job = load(&text).unwrap();
        let Algorithm::Grpo(grpo) = job.learning().algorithm else { panic!("{:?}", job.rl) };
        assert_eq!((grpo.epochs, job.rl.group_size), (2, 4));
        assert_eq!(job.rl.reinforce, None, "another algorithm's table is not filled in");
        assert_eq!(load(&job.to_toml()).unwrap(), job);
    }

    /// A mixture with these parts.
    fn mixed(parts: &[&str]) -> String {
        let parts = parts.iter().map(|part| format!("[[rl.mixture]]\n{part}\n"));
        DIRECT.replace("'labeler'", "'mixture'") + &parts.collect::<String>()
    }

    const RATING: &str = "source = 'labeler'\ntemplate = 'sentiment/rating'\nweight = 0.25";

    #[test]
    fn a_mixture_reads_back_as_itself_and_calls_its_parts_by_name_template_or_source() {
        let rubric = "source = 'labeler'\nname = 'tone'\ntemplate = 'own.toml'\nweight = -1.0";
        let text = mixed(&["source = 'model'\nweight = 0.75", RATING, rubric]) + "[reward_model]\n";
        let job = load(&text).unwrap();
        let names: Vec<String> = job.rl.mixture.iter().map(RewardPart::metric).collect();
        let expected = ["model", "sentiment/rating", "tone"].map(|n| format!("rewards/{n}/mean"));
        assert_eq!(names, expected);
        assert!(Path::new(job.rl.mixture[2].template.as_deref().unwrap()).is_absolute());
        assert_eq!(load(&job.to_toml()).unwrap(), job);
        assert!(
            !load(DIRECT).unwrap().to_toml().contains("mixture"),
            "jobs of before keep their hash"
        );
    }

    #[test]
    fn a_senseless_mixture_is_refused_with_the_part_named() {
        let model = "source = 'model'\nweight = 1.0";
        let pairwise = "source = 'pairwise'\ntemplate = 'sentiment/compare'\nweight = 1.0";
        for (parts, complaint) in [
            (
                &[RATING, RATING][..],
                "rl.mixture[1].name \"sentiment/rating\" is that of another part",
            ),
            (&["source = 'labeler'\nweight = 1.0"], "rl.mixture[0].template is missing"),
            (
                &["source = 'model'\nweight = 0.0"],
                "rl.mixture[0].weight must be a number other than 0",
            ),
            (&["source = 'model'\nweight = nan"], "rl.mixture[0].weight must be"),
            (
                &["source = 'model'\ntemplate = 'x'\nweight = 1.0"],
                "rl.mixture[0].template is for parts",
            ),
            (&[model, RATING], "with a part of source \"model\" needs a [reward_model] section"),
            (&[model, "source = 'model'\nname = 'b'\nweight = 1.0"], "trains one reward model"),
            (&[RATING, pairwise], "rl.group_size must be at least 2"),
            (&["source = 'human'\nweight = 1.0"], "human"),
        ] {
            let error = load(&mixed(parts)).unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
        let text = format!("{}[reward_model]\n", mixed(&[RATING]));
        let error = load(&text).unwrap_err().to_string();
        assert!(
            error.contains("without a part of source \"model\" trains no [reward_model]"),
            "{error}"
        );
        let text = format!("{DIRECT}[[rl.mixture]]\n{RATING}\n");
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains("rl.mixture has parts of rl.reward = \"mixture\""), "{error}");
    }
}
