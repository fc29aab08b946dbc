//! Returns of an episode whose reward comes at its end (paper section 3), and advantages.

use rlaif_types::{KlPlacement, KlTerm};

/// Returns `Z_t` of every token, discount 1: `(1 - beta) · reward` at the end, and with
/// [`KlPlacement::Reward`] what is still to be paid for the divergence from here on.
pub fn token_returns(reward: f64, logprobs: &[f32], reference: &[f32], kl: KlTerm) -> Vec<f32> {
    let mut to_go = (1.0 - kl.beta) * reward;
    let mut returns = vec![0.0; logprobs.len()];
    for t in (0..logprobs.len()).rev() {
        if kl.placement == KlPlacement::Reward {
            to_go -= kl.beta * kl.estimator.value(logprobs[t], reference[t]);
        }
        returns[t] = to_go as f32;
    }
    returns
}

/// Generalised advantages of every token and the returns that the value network learns (Schulman et
/// al. 2016), discount 1: `delta_t = r_t + V_{t+1} - V_t`, `A_t = delta_t + lambda A_{t+1}`,
/// `R_t = A_t + V_t`; after the last token there is nothing.
///
/// `rewards` are the tokens' own, `values` those before each token.
pub fn generalised_advantages(
    rewards: &[f64],
    values: &[f32],
    lambda: f64,
) -> (Vec<f64>, Vec<f32>) {
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (0.0, 0.0);
    for t in (0..rewards.len()).rev() {
        let value = f64::from(values[t]);
        next_advantage = rewards[t] + next_value - value + lambda * next_advantage;
        next_value = value;
        advantages[t] = next_advantage;
    }
    let returns = advantages.iter().zip(values).map(|(a, v)| (a + f64::from(*v)) as f32).collect();
    (advantages, returns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::KlEstimator;

    fn kl(placement: KlPlacement) -> KlTerm {
        KlTerm { beta: 0.25, placement, estimator: KlEstimator::K1 }
    }

    #[test]
    fn the_reward_is_weighted_by_one_minus_beta_and_tokens_pay_for_what_follows() {
        let (pi, reference) = ([-1.0, -1.0, -2.0], [-1.5, -1.0, -1.0]);
        let shaped = token_returns(2.0, &pi, &reference, kl(KlPlacement::Reward));
        assert_eq!(shaped, [1.5 + 0.25 - 0.125, 1.5 + 0.25, 1.5 + 0.25]);
        let plain = token_returns(2.0, &pi, &reference, kl(KlPlacement::Loss));
        assert_eq!(plain, [1.5; 3]);
    }
    #[test]
    fn advantages_by_hand() {
        let (rewards, values) = ([0.0, -0.5, 2.0], [1.0, 0.5, 1.5]);
        // Errors of one step: 0 + 0.5 - 1, -0.5 + 1.5 - 0.5, 2 - 1.5.
        let (advantages, returns) = generalised_advantages(&rewards, &values, 0.5);
        assert_eq!(advantages, [-0.5 + 0.5 * 0.75, 0.5 + 0.5 * 0.5, 0.5]);
        assert_eq!(returns, [0.875, 1.25, 2.0]);
    }

    #[test]
    fn lambda_of_one_gives_returns_less_the_baseline_and_of_zero_one_step_errors() {
        let (rewards, values) = ([0.5, -0.5, 2.0], [1.0, 0.5, 1.5]);
        let (advantages, returns) = generalised_advantages(&rewards, &values, 1.0);
        assert_eq!(returns, [2.0, 1.5, 2.0]);
        assert_eq!(advantages, [1.0, 1.0, 0.5]);
        assert_eq!(generalised_advantages(&rewards, &values, 0.0).0, [0.0, 0.5, 0.5]);
    }
}
