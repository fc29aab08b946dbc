//! How a policy is held to its reference: where the divergence enters, how it is estimated, and how its weight
//! moves.

use super::check_positive;
use crate::Problems;
use serde::{Deserialize, Serialize};

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
    pub(super) fn new(beta: f64, placement: KlPlacement, estimator: Option<KlEstimator>) -> Self {
        let natural = match placement {
            KlPlacement::Reward => KlEstimator::K1,
            KlPlacement::Loss => KlEstimator::K2,
        };
        Self { beta, placement, estimator: estimator.unwrap_or(natural) }
    }

    pub(super) fn problems(self) -> Problems {
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
    /// How fast `beta` moves; below 5.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RlooConfig;

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
}
