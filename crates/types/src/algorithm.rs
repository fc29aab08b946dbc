//! Settings of the algorithms that improve a policy: plain data that a job file holds and a learner
//! obeys. `docs/training.md` lists them with their formulas.

use crate::{OptimizerConfig, Problems};
use serde::{Deserialize, Serialize};
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
    /// Temperature the rollouts are drawn at; the policy trained is the one sampled from.
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

/// Where the divergence from the reference enters. The paper leaves it open; runs record it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlacement {
    /// Each token pays `beta · (log pi - log reference)` out of its reward, and the baseline learns
    /// to expect it.
    #[default]
    Reward,
    /// The loss has a term of its own.
    Loss,
}

/// How the divergence is estimated from drawn tokens (Schulman, "Approximating KL divergence", 2020).
/// With `d = log pi - log reference` of a token:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: unbiased, of high variance, negative for some tokens.
    K1,
    /// `d² / 2`: biased, but its expected gradient is the divergence's.
    K2,
    /// `e^-d - 1 + d`: unbiased and never negative.
    K3,
}

impl KlEstimator {
    /// The estimate from one token.
    pub fn value(self, logprob: f32, reference: f32) -> f64 {
        let d = f64::from(logprob - reference);
        match self {
            Self::K1 => d,
            Self::K2 => d * d / 2.0,
            Self::K3 => (-d).exp_m1() + d,
        }
    }
}

/// How a policy is held to its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KlTerm {
    /// Weight of the divergence.
    pub beta: f64,
    /// Where it enters.
    pub placement: KlPlacement,
    /// How it is estimated.
    pub estimator: KlEstimator,
}

impl KlTerm {
    fn new(beta: f64, placement: KlPlacement, estimator: Option<KlEstimator>) -> Self {
        let natural = match placement {
            KlPlacement::Reward => KlEstimator::K1,
            KlPlacement::Loss => KlEstimator::K2,
        };
        Self { beta, placement, estimator: estimator.unwrap_or(natural) }
    }

    fn problems(self) -> Problems {
        let mut problems = Problems::default();
        let useless = self.placement == KlPlacement::Loss && self.estimator == KlEstimator::K1;
        let what = "= \"k1\" has a gradient of 0 on average when it is in the loss, and holds nothing; \
            choose \"k2\" or \"k3\"";
        problems.check(!useless, "kl_estimator", what);
        problems
    }
}

/// Moves `beta` towards a target divergence (Ziegler et al. 2019, section 2.2): after a step with
/// divergence `KL`, `beta ← beta · (1 + rate · clip(KL / target - 1, -0.2, 0.2))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveKl {
    /// Nats per response to stay near.
    pub target: f64,
    /// How fast `beta` moves.
    #[serde(default = "AdaptiveKl::default_rate")]
    pub rate: f64,
}

impl AdaptiveKl {
    fn default_rate() -> f64 {
        0.1
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_positive(&mut problems, "target", self.target);
        check_positive(&mut problems, "rate", self.rate);
        // A larger one could make beta negative.
        problems.check(self.rate < 5.0, "rate", format!("must be below 5, not {}", self.rate));
        problems
    }
}

/// Against what rewards are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardNormalisation {
    /// Nothing.
    #[default]
    None,
    /// Mean and deviation of the step's rewards.
    Batch,
    /// Mean and deviation of all rewards so far, the step's included.
    Running,
}

/// What is made of rewards before they are learned from, in this order; metrics show them as they
/// came.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardShaping {
    /// Shifted and scaled to mean 0 and deviation 1.
    pub normalise: RewardNormalisation,
    /// Cut off beyond `±clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Taken off for every token of the response.
    pub length_penalty: f64,
}

impl RewardShaping {
    /// Rewards as they came.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        if let Some(clip) = self.clip {
            check_positive(&mut problems, "clip", clip);
        }
        let penalty = self.length_penalty;
        let what = format!("must be 0 or more, not {penalty}");
        problems.check(penalty >= 0.0 && penalty.is_finite(), "length_penalty", what);
        problems
    }
}

/// Settings of REINFORCE with a value baseline (paper section 3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReinforceConfig {
    /// Weight of the divergence from the reference; the reward's is `1 - beta`.
    pub beta: f64,
    /// Where the divergence enters.
    pub kl_placement: KlPlacement,
    /// How it is estimated: `k1` in the reward and `k2` in the loss where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_estimator: Option<KlEstimator>,
    /// Temperature the rollouts are drawn at; the policy trained is the one sampled from.
    pub temperature: f32,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// Updates the value network.
    pub value: OptimizerConfig,
    /// First steps in which only the value network learns.
    pub value_warmup_steps: u64,
    /// Subtract the batch's mean from the advantages. A value network that lags behind the policy
    /// makes them all negative or all positive, which moves the policy away from, or towards,
    /// whatever it happened to draw. The paper does not do it.
    pub center_advantages: bool,
    /// Steps that the policy may be ahead of the one that drew a step's rollouts. With 1, a step's
    /// rollouts are drawn while the step before it is learned. What is older is left out.
    pub max_off_policy_steps: usize,
    /// Largest importance weight `pi / pi_drawn` of a token of an older policy; at least 1. Truncation
    /// bounds the variance at the price of some bias (IMPALA, Espeholt et al. 2018, section 4.1).
    pub importance_cap: f32,
}

impl Default for ReinforceConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_placement: KlPlacement::Reward,
            kl_estimator: None,
            temperature: 0.9,
            policy: OptimizerConfig::default(),
            value: OptimizerConfig::default(),
            value_warmup_steps: 0,
            center_advantages: false,
            max_off_policy_steps: 0,
            importance_cap: 2.0,
        }
    }
}

impl ReinforceConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, self.kl_placement, self.kl_estimator)
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        let beta = self.beta;
        let what = format!("must be in [0, 1], not {beta}");
        problems.check((0.0..=1.0).contains(&beta), "beta", what);
        check_positive(&mut problems, "temperature", f64::from(self.temperature));
        check_cap(&mut problems, self.importance_cap);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems.section("value", self.value.problems());
        problems
    }
}

/// Settings of REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RlooConfig {
    /// Weight of the divergence from the reference; the reward's is 1.
    pub beta: f64,
    /// Where the divergence enters.
    pub kl_placement: KlPlacement,
    /// How it is estimated: `k1` in the reward and `k2` in the loss where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_estimator: Option<KlEstimator>,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// As in [`ReinforceConfig::max_off_policy_steps`].
    pub max_off_policy_steps: usize,
    /// As in [`ReinforceConfig::importance_cap`].
    pub importance_cap: f32,
}

impl Default for RlooConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_placement: KlPlacement::Reward,
            kl_estimator: None,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
            importance_cap: 2.0,
        }
    }
}

impl RlooConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, self.kl_placement, self.kl_estimator)
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_cap(&mut problems, self.importance_cap);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems
    }
}

/// What a token counts in a loss over responses of unequal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Every response counts alike, its tokens share that: the original.
    #[default]
    Sequence,
    /// Every token counts alike (DAPO, Yu et al. 2025): long responses count for more.
    Token,
}

/// Settings of group-relative policy optimisation (Shao et al. 2024, arXiv 2402.03300).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpoConfig {
    /// Weight of the divergence from the reference, in the loss.
    pub beta: f64,
    /// How it is estimated.
    pub kl_estimator: KlEstimator,
    /// A token's ratio to the policy that drew it counts down to `1 - clip_low`...
    pub clip_low: f64,
    /// ... and up to `1 + clip_high`.
    pub clip_high: f64,
    /// Divide advantages by the deviation of their group's rewards. Without it, groups that the
    /// policy finds hard or easy count no more than others (Dr. GRPO, Liu et al. 2025).
    pub scale_by_deviation: bool,
    /// What a token counts.
    pub aggregation: Aggregation,
    /// Passes over a batch.
    pub epochs: usize,
    /// Updates in a pass, each on a part of the batch.
    pub minibatches: usize,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// As in [`ReinforceConfig::max_off_policy_steps`]; the ratio is to the policy that drew.
    pub max_off_policy_steps: usize,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.04,
            kl_estimator: KlEstimator::K3,
            clip_low: 0.2,
            clip_high: 0.2,
            scale_by_deviation: true,
            aggregation: Aggregation::Sequence,
            epochs: 1,
            minibatches: 1,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl GrpoConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, KlPlacement::Loss, Some(self.kl_estimator))
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_share(&mut problems, "clip_low", self.clip_low);
        check_positive(&mut problems, "clip_high", self.clip_high);
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("minibatches", self.minibatches);
        problems.0.extend(self.kl().problems().0);
        problems.section("policy", self.policy.problems());
        problems
    }
}

/// Settings of proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) with token-level
/// rewards for the divergence (Ziegler et al. 2019).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Weight of the divergence from the reference, paid token by token out of the reward.
    pub beta: f64,
    /// How it is estimated.
    pub kl_estimator: KlEstimator,
    /// A token's ratio to the policy that drew it counts within `1 ± clip`.
    pub clip: f64,
    /// A value counts within this of what it was when the step began; unbounded where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_clip: Option<f64>,
    /// Lambda of generalised advantage estimation; 1 gives returns less the baseline.
    pub gae_lambda: f64,
    /// Shift and scale a batch's advantages to mean 0 and deviation 1.
    pub whiten_advantages: bool,
    /// Passes over a batch.
    pub epochs: usize,
    /// Updates in a pass, each on a part of the batch.
    pub minibatches: usize,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// Updates the value network.
    pub value: OptimizerConfig,
    /// As in [`ReinforceConfig::max_off_policy_steps`]; the ratio is to the policy that drew.
    pub max_off_policy_steps: usize,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.05,
            kl_estimator: KlEstimator::K1,
            clip: 0.2,
            value_clip: None,
            gae_lambda: 0.95,
            whiten_advantages: true,
            epochs: 4,
            minibatches: 1,
            policy: OptimizerConfig::default(),
            value: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl PpoConfig {
    /// How the policy is held to its start.
    pub fn kl(&self) -> KlTerm {
        KlTerm::new(self.beta, KlPlacement::Reward, Some(self.kl_estimator))
    }

    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_beta(&mut problems, self.beta);
        check_share(&mut problems, "clip", self.clip);
        if let Some(clip) = self.value_clip {
            check_positive(&mut problems, "value_clip", clip);
        }
        let lambda = self.gae_lambda;
        let what = format!("must be in [0, 1], not {lambda}");
        problems.check((0.0..=1.0).contains(&lambda), "gae_lambda", what);
        problems.check_positive("epochs", self.epochs);
        problems.check_positive("minibatches", self.minibatches);
        problems.section("policy", self.policy.problems());
        problems.section("value", self.value.problems());
        problems
    }
}

/// A loss on a pair's margin `h`: how much more the policy prefers the better response than its
/// reference does, `log(pi / reference)` of the better less that of the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// `-log sigma(beta h)` (Rafailov et al. 2023).
    #[default]
    Dpo,
    /// `(h - 1 / (2 beta))²` (Azar et al. 2023).
    Ipo,
    /// `max(0, 1 - beta h)` (Zhao et al. 2023).
    Slic,
}

/// Settings of learning from pairs that the policy drew and the reward source ordered (OAIF, Guo et
/// al. 2024, arXiv 2402.04792).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnlineDpoConfig {
    /// Strength of the pull to the reference.
    pub beta: f64,
    /// The loss.
    pub loss: PreferenceLoss,
    /// Updates the policy.
    pub policy: OptimizerConfig,
    /// As in [`ReinforceConfig::max_off_policy_steps`]; pairs of an older policy are learned from as
    /// they are.
    pub max_off_policy_steps: usize,
}

impl Default for OnlineDpoConfig {
    fn default() -> Self {
        Self {
            beta: 0.1,
            loss: PreferenceLoss::Dpo,
            policy: OptimizerConfig::default(),
            max_off_policy_steps: 0,
        }
    }
}

impl OnlineDpoConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_positive(&mut problems, "beta", self.beta);
        problems.section("policy", self.policy.problems());
        problems
    }
}

/// Settings of learning from given preferences (Rafailov et al. 2023, arXiv 2305.18290). A soft label
/// weights the loss of either order by its probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Strength of the pull to the reference.
    pub beta: f64,
    /// The loss.
    pub loss: PreferenceLoss,
    /// Updates the policy.
    pub policy: OptimizerConfig,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self { beta: 0.1, loss: PreferenceLoss::Dpo, policy: OptimizerConfig::default() }
    }
}

impl DpoConfig {
    /// Settings that make no sense.
    pub fn problems(&self) -> Problems {
        let mut problems = Problems::default();
        check_positive(&mut problems, "beta", self.beta);
        problems.section("policy", self.policy.problems());
        problems
    }
}

fn check_positive(problems: &mut Problems, field: &str, x: f64) {
    problems.check(x > 0.0 && x.is_finite(), field, format!("must be positive, not {x}"));
}

fn check_share(problems: &mut Problems, field: &str, x: f64) {
    problems.check(x > 0.0 && x < 1.0, field, format!("must be between 0 and 1, not {x}"));
}

fn check_beta(problems: &mut Problems, beta: f64) {
    let what = format!("must be 0 or more, not {beta}");
    problems.check(beta >= 0.0 && beta.is_finite(), "beta", what);
}

fn check_cap(problems: &mut Problems, cap: f32) {
    let what = format!("must be at least 1, not {cap}");
    problems.check(cap >= 1.0 && cap.is_finite(), "importance_cap", what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimators_by_hand() {
        // d = log 2: k3 = 1/2 - 1 + log 2.
        let d = std::f32::consts::LN_2;
        let estimates =
            [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3].map(|k| k.value(d, 0.0));
        let log2 = f64::from(d);
        for (found, expected) in estimates.iter().zip([log2, log2 * log2 / 2.0, log2 - 0.5]) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }

    #[test]
    fn k1_and_k3_are_the_divergence_on_average_and_k3_is_never_negative() {
        let (pi, reference) = ([0.7_f32, 0.2, 0.1], [0.2_f32, 0.5, 0.3]);
        let mean = |k: KlEstimator| -> f64 {
            pi.iter().zip(&reference).map(|(p, r)| f64::from(*p) * k.value(p.ln(), r.ln())).sum()
        };
        let divergence: f64 =
            pi.iter().zip(&reference).map(|(p, r)| f64::from(*p) * f64::from(p / r).ln()).sum();
        assert!((mean(KlEstimator::K1) - divergence).abs() < 1e-6);
        assert!((mean(KlEstimator::K3) - divergence).abs() < 1e-6);
        assert!(
            pi.iter().zip(&reference).all(|(p, r)| KlEstimator::K3.value(p.ln(), r.ln()) >= 0.0)
        );
    }

    #[test]
    fn an_estimator_that_holds_nothing_is_refused() {
        let mut config = RlooConfig {
            kl_placement: KlPlacement::Loss,
            kl_estimator: Some(KlEstimator::K1),
            ..RlooConfig::default()
        };
        assert_eq!(config.problems().0[0].field, "kl_estimator");
        config.kl_placement = KlPlacement::Reward;
        assert!(config.problems().is_empty());
    }

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
