//! The weight of the divergence from the reference: fixed, or moved towards a target.

use crate::halt::Halt;
use crate::state::{StateError, TrainerState};
use rlaif_types::{AdaptiveKl, KlTerm};

/// Largest relative error that one step answers to.
const LARGEST_ERROR: f64 = 0.2;

/// Holds a policy to its reference.
pub(crate) struct KlController {
    /// With today's `beta`.
    pub(crate) term: KlTerm,
    adaptive: Option<AdaptiveKl>,
    /// Largest `beta` that makes sense to the algorithm.
    most: f64,
    max_kl_per_token: f64,
}

impl KlController {
    pub(crate) fn new(
        term: KlTerm,
        adaptive: Option<AdaptiveKl>,
        most: f64,
        max_kl_per_token: f64,
    ) -> Self {
        Self { term, adaptive, most, max_kl_per_token }
    }

    /// `beta`, where it adapts.
    pub(crate) fn adapting_beta(&self) -> Option<f64> {
        self.adaptive.map(|_| self.term.beta)
    }

    /// See [`check_kl`].
    pub(crate) fn check(&self, kl: f64, response_tokens: f64) -> Result<(), Halt> {
        check_kl(kl, response_tokens, self.max_kl_per_token)
    }

    /// After a step with this divergence per response.
    pub(crate) fn observe(&mut self, kl: f64) {
        if let Some(AdaptiveKl { target, rate }) = self.adaptive {
            let error = (kl / target - 1.0).clamp(-LARGEST_ERROR, LARGEST_ERROR);
            self.term.beta = (self.term.beta * (1.0 + rate * error)).min(self.most);
        }
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        if self.adaptive.is_some() {
            state.put_float("kl.beta", self.term.beta);
        }
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        if self.adaptive.is_some() {
            self.term.beta = state.float("kl.beta")?;
        }
        Ok(())
    }
}

/// Complains of a policy that has come apart: mean divergence of a response, mean tokens of one.
pub(crate) fn check_kl(kl: f64, response_tokens: f64, limit: f64) -> Result<(), Halt> {
    let kl = kl / response_tokens;
    // Not a number is not below the limit either; the loss says more about that.
    if kl > limit { Err(Halt::KlExploded { kl, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{KlEstimator, KlPlacement};

    fn controller(adaptive: Option<AdaptiveKl>) -> KlController {
        let (placement, estimator) = (KlPlacement::Reward, KlEstimator::K1);
        KlController::new(KlTerm { beta: 0.5, placement, estimator }, adaptive, 1.0, 10.0)
    }

    #[test]
    fn beta_moves_towards_the_target_by_a_bounded_step() {
        let mut controller = controller(Some(AdaptiveKl { target: 4.0, rate: 0.5 }));
        // By hand: 0.5 (1 + 0.5 · 0.1), then twice the clipped error of 0.2, up and down.
        for (kl, expected) in [(4.4, 0.525), (400.0, 0.5775), (-3.0, 0.51975)] {
            controller.observe(kl);
            assert!((controller.term.beta - expected).abs() < 1e-12, "{}", controller.term.beta);
        }
        (0..100).for_each(|_| controller.observe(100.0));
        assert_eq!(controller.term.beta, 1.0, "the reward's weight is 1 - beta");
    }

    #[test]
    fn a_fixed_beta_stays() {
        let mut fixed = controller(None);
        fixed.observe(1e9);
        assert_eq!((fixed.term.beta, fixed.adapting_beta()), (0.5, None));
    }

    #[test]
    fn the_state_is_saved_bit_for_bit() {
        let adaptive = Some(AdaptiveKl { target: 6.0, rate: 0.1 });
        let mut one = controller(adaptive);
        (0..7).for_each(|kl| one.observe(f64::from(kl)));
        let mut state = TrainerState::default();
        one.save(&mut state);
        let mut other = controller(adaptive);
        other.load(&TrainerState::from_bytes(state.to_bytes()).unwrap()).unwrap();
        assert_eq!(one.term.beta.to_bits(), other.term.beta.to_bits());
    }

    #[test]
    fn a_policy_that_came_apart_is_noticed() {
        assert!(controller(None).check(79.0, 8.0).is_ok());
        let halt = controller(None).check(81.0, 8.0).unwrap_err();
        assert!(halt.to_string().contains("max_kl_per_token = 10"), "{halt}");
    }
}
