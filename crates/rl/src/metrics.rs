//! What a step of a policy measures. Names are the same whatever the algorithm; what one does not
//! measure is absent. In records, what TRL's trainers measure alike has TRL's name; `docs/training.md` says of the
//! others why TRL has none.

use serde::{Deserialize, Serialize};

/// What one step measured, before it changed anything where nothing else is said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyMetrics {
    /// Episodes that took part; responses of the pairs where the algorithm learns from pairs.
    pub episodes: usize,
    /// Episodes left out because they could not be judged or read.
    pub unscorable: usize,
    /// Episodes left out because their policy was more than `max_off_policy_steps` behind.
    pub too_old: usize,
    /// Episodes left out because no other of their group could be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<usize>,
    /// Mean steps that the policy is ahead of the one that drew.
    pub off_policy_steps: f64,
    /// Share of the tokens whose importance weight was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<f64>,
    /// Mean reward, as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward: Option<f64>,
    /// Standard deviation of the reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_std: Option<f64>,
    /// Mean reward after normalisation, clipping and length penalty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shaped_reward: Option<f64>,
    /// Mean over episodes of `log pi - log reference` of the whole response.
    #[serde(rename = "objective/kl", default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Weight of the divergence in this step, where it adapts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Policy loss: per episode; per token where ratios are clipped; per pair. Mean over all updates
    /// of the step.
    #[serde(rename = "loss")]
    pub policy_loss: f64,
    /// Mean squared error of the value, per token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_loss: Option<f64>,
    /// Share of the returns' variance that the baseline explains; 1 is perfect, 0 is no better
    /// than a constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained_variance: Option<f64>,
    /// Mean response tokens.
    #[serde(rename = "completions/mean_length")]
    pub response_tokens: f64,
    /// Entropy of the policy per token, estimated by `-log pi` of the drawn ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Share of the tokens whose ratio was clipped, over all updates of the step.
    #[serde(rename = "clip_ratio/region_mean", default, skip_serializing_if = "Option::is_none")]
    pub clip_share: Option<f64>,
    /// Divergence of the policy that drew from the one that learns, per token, by k3, over all
    /// updates of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approx_kl: Option<f64>,
    /// Share of the groups whose rewards are all equal, which teach nothing but the divergence.
    #[serde(rename = "frac_reward_zero_std", default, skip_serializing_if = "Option::is_none")]
    pub equal_groups: Option<f64>,
    /// Share of the pairs that the policy orders as they are labelled, beyond its reference.
    #[serde(rename = "rewards/accuracies", default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean over pairs of `beta h`, the difference of the implicit rewards.
    #[serde(rename = "rewards/margins", default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Mean implicit reward `beta log(pi / reference)` of the better response.
    #[serde(rename = "rewards/chosen", default, skip_serializing_if = "Option::is_none")]
    pub chosen_reward: Option<f64>,
    /// ... and of the worse.
    #[serde(rename = "rewards/rejected", default, skip_serializing_if = "Option::is_none")]
    pub rejected_reward: Option<f64>,
    /// Largest difference between a rollout's log-probability and the learner's, on-policy.
    #[serde(
        rename = "sampling/sampling_logp_difference/max",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub logprob_mismatch: Option<f64>,
    /// Norm of the policy's gradient before clipping; of the step's last update.
    #[serde(rename = "grad_norm")]
    pub policy_grad_norm: f64,
    /// Norm of the value network's gradient before clipping; of the step's last update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_grad_norm: Option<f64>,
    /// The policy's learning rate.
    #[serde(rename = "learning_rate")]
    pub lr: f64,
}

/// Mean and variance of some numbers; NaN of none.
pub(crate) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance)
}
