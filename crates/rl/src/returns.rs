//! Returns of an episode whose reward comes at its end (paper section 3).

use rlaif_types::KlPlacement;

/// Returns `Z_t` of every token, discount 1: `(1 - beta) · reward` at the end, and with
/// [`KlPlacement::Reward`] what is still to be paid for the divergence from here on.
pub fn token_returns(
    reward: f64,
    logprobs: &[f32],
    reference: &[f32],
    beta: f64,
    placement: KlPlacement,
) -> Vec<f32> {
    let mut to_go = (1.0 - beta) * reward;
    let mut returns = vec![0.0; logprobs.len()];
    for t in (0..logprobs.len()).rev() {
        if placement == KlPlacement::Reward {
            to_go -= beta * f64::from(logprobs[t] - reference[t]);
        }
        returns[t] = to_go as f32;
    }
    returns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_is_weighted_by_one_minus_beta_and_tokens_pay_for_what_follows() {
        let (pi, reference) = ([-1.0, -1.0, -2.0], [-1.5, -1.0, -1.0]);
        let shaped = token_returns(2.0, &pi, &reference, 0.25, KlPlacement::Reward);
        assert_eq!(shaped, [1.5 + 0.25 - 0.125, 1.5 + 0.25, 1.5 + 0.25]);
        let plain = token_returns(2.0, &pi, &reference, 0.25, KlPlacement::Loss);
        assert_eq!(plain, [1.5; 3]);
    }
}
