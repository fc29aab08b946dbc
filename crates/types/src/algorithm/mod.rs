//! Settings of the algorithms that improve a policy: plain data that a job file holds and a learner
//! obeys. `docs/training.md` lists them with their formulas.

mod clipped;
mod kl;
mod pairs;
mod score_function;
mod shaping;

use crate::Problems;
pub use clipped::{Aggregation, GrpoConfig, PpoConfig};
pub use kl::{AdaptiveKl, KlEstimator, KlPlacement, KlTerm};
pub use pairs::{DpoConfig, OnlineDpoConfig, PreferenceLoss};
pub use score_function::{ReinforceConfig, RlooConfig};
use serde::{Deserialize, Serialize};
pub use shaping::{RewardNormalisation, RewardShaping};
use std::fmt;

/// An algorithm's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgorithmKind {
    /// Score-function gradient with a learned value baseline (paper section 3).
    #[default]
    Reinforce,
    /// The baseline is the mean reward of the prompt's other responses (Ahmadian et al. 2024).
    Rloo,
    /// Rewards standardised within the group, clipped ratios (Shao et al. 2024).
    Grpo,
    /// Clipped ratios, generalised advantages of a value network (Schulman et al. 2017).
    Ppo,
    /// Best against worst of a group, by the reward source (OAIF, Guo et al. 2024).
    OnlineDpo,
    /// Given preferences, no rollouts (Rafailov et al. 2023).
    Dpo,
}

impl AlgorithmKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reinforce, Self::Rloo, Self::Grpo, Self::Ppo, Self::OnlineDpo, Self::Dpo];

    /// As job files write it; also the name of its table there.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reinforce => "reinforce",
            Self::Rloo => "rloo",
            Self::Grpo => "grpo",
            Self::Ppo => "ppo",
            Self::OnlineDpo => "online_dpo",
            Self::Dpo => "dpo",
        }
    }

    /// Whether it compares a prompt's responses with each other, and so needs two at least.
    pub fn needs_groups(self) -> bool {
        matches!(self, Self::Rloo | Self::Grpo | Self::OnlineDpo)
    }
}

impl fmt::Display for AlgorithmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An algorithm with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Algorithm {
    /// See [`AlgorithmKind::Reinforce`].
    Reinforce(ReinforceConfig),
    /// See [`AlgorithmKind::Rloo`].
    Rloo(RlooConfig),
    /// See [`AlgorithmKind::Grpo`].
    Grpo(GrpoConfig),
    /// See [`AlgorithmKind::Ppo`].
    Ppo(PpoConfig),
    /// See [`AlgorithmKind::OnlineDpo`].
    OnlineDpo(OnlineDpoConfig),
    /// See [`AlgorithmKind::Dpo`].
    Dpo(DpoConfig),
}

impl Algorithm {
    /// Its name.
    pub fn kind(&self) -> AlgorithmKind {
        match self {
            Self::Reinforce(_) => AlgorithmKind::Reinforce,
            Self::Rloo(_) => AlgorithmKind::Rloo,
            Self::Grpo(_) => AlgorithmKind::Grpo,
            Self::Ppo(_) => AlgorithmKind::Ppo,
            Self::OnlineDpo(_) => AlgorithmKind::OnlineDpo,
            Self::Dpo(_) => AlgorithmKind::Dpo,
        }
    }

    /// Steps that the policy may be ahead of the one that drew a step's rollouts.
    pub fn max_off_policy_steps(&self) -> usize {
        match self {
            Self::Reinforce(config) => config.max_off_policy_steps,
            Self::Rloo(config) => config.max_off_policy_steps,
            Self::Grpo(config) => config.max_off_policy_steps,
            Self::Ppo(config) => config.max_off_policy_steps,
            Self::OnlineDpo(config) => config.max_off_policy_steps,
            Self::Dpo(_) => 0,
        }
    }

    /// How it holds the policy to its start; none where that is part of the loss on pairs.
    pub fn kl(&self) -> Option<KlTerm> {
        match self {
            Self::Reinforce(config) => Some(config.kl()),
            Self::Rloo(config) => Some(config.kl()),
            Self::Grpo(config) => Some(config.kl()),
            Self::Ppo(config) => Some(config.kl()),
            Self::OnlineDpo(_) | Self::Dpo(_) => None,
        }
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        match self {
            Self::Reinforce(config) => config.problems(),
            Self::Rloo(config) => config.problems(),
            Self::Grpo(config) => config.problems(),
            Self::Ppo(config) => config.problems(),
            Self::OnlineDpo(config) => config.problems(),
            Self::Dpo(config) => config.problems(),
        }
    }
}

/// How a policy learns: the algorithm, and what all of them have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyLearning {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Responses to each prompt, which follow each other in a batch.
    pub group_size: usize,
    /// Temperature the rollouts are drawn at; the policy trained is the one sampled from. 1, the model as it is,
    /// where nothing is drawn.
    pub temperature: f32,
    /// What is made of rewards before they are learned from.
    pub shaping: RewardShaping,
    /// Moves `beta` so that the divergence stays near a target.
    pub adaptive_kl: Option<AdaptiveKl>,
    /// Mean divergence per token at which training has come apart and stops.
    pub max_kl_per_token: f64,
    /// Of an exponential moving average of the policy's weights, which training then leaves; none is kept
    /// without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
}

impl PolicyLearning {
    /// See [`PolicyLearning::max_kl_per_token`]. A policy this far away draws tokens that its start
    /// gives `e^-10`; the logarithm of a vocabulary of 22,000 is 10.
    pub const MAX_KL_PER_TOKEN: f64 = 10.0;

    /// An algorithm on single responses, rewards as they are, `beta` fixed.
    pub fn plain(algorithm: Algorithm, temperature: f32) -> Self {
        Self {
            algorithm,
            group_size: 1,
            temperature,
            shaping: RewardShaping::default(),
            adaptive_kl: None,
            max_kl_per_token: Self::MAX_KL_PER_TOKEN,
            ema_decay: None,
        }
    }
}

fn check_positive(problems: &mut Problems, field: &str, x: f64) {
    problems.check(x > 0.0 && x.is_finite(), field, format!("must be positive, not {x}"));
}

fn check_beta(problems: &mut Problems, beta: f64) {
    let what = format!("must be 0 or more, not {beta}");
    problems.check(beta >= 0.0 && beta.is_finite(), "beta", what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_names_are_those_of_the_tables() {
        let all = [
            Algorithm::Reinforce(ReinforceConfig::default()),
            Algorithm::Rloo(RlooConfig::default()),
            Algorithm::Grpo(GrpoConfig::default()),
            Algorithm::Ppo(PpoConfig::default()),
            Algorithm::OnlineDpo(OnlineDpoConfig::default()),
            Algorithm::Dpo(DpoConfig::default()),
        ];
        for (algorithm, kind) in all.iter().zip(AlgorithmKind::ALL) {
            assert!(algorithm.problems().is_empty(), "{algorithm:?}: {}", algorithm.problems());
            assert_eq!(algorithm.kind(), kind);
            assert_eq!(serde_json::to_value(algorithm).unwrap()["name"], kind.as_str());
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
