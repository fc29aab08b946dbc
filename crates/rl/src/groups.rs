//! What a prompt's responses say about each other: advantages and preferences without a value
//! network. A group has two members at least.

use crate::metrics::mean_and_variance;

/// Keeps GRPO's division finite; TRL's value.
const SMALLEST_DEVIATION: f64 = 1e-4;

/// Each reward less the mean of the others (RLOO, Ahmadian et al. 2024). Equal rewards give zeros, not
/// rounding errors, which some optimisers would blow up.
pub(crate) fn leave_one_out(rewards: &[f64]) -> Vec<f64> {
    if all_equal(rewards) {
        return vec![0.0; rewards.len()];
    }
    let (sum, others) = (rewards.iter().sum::<f64>(), (rewards.len() - 1) as f64);
    rewards.iter().map(|reward| reward - (sum - reward) / others).collect()
}

/// Each reward less the mean of all, over their sample deviation where `scaled` (GRPO, Shao et al.
/// 2024). Equal rewards give zeros either way.
pub(crate) fn relative(rewards: &[f64], scaled: bool) -> Vec<f64> {
    if all_equal(rewards) {
        return vec![0.0; rewards.len()];
    }
    let (mean, variance) = mean_and_variance(rewards);
    let count = rewards.len() as f64;
    let scale = match scaled {
        true => (variance * count / (count - 1.0)).sqrt() + SMALLEST_DEVIATION,
        false => 1.0,
    };
    rewards.iter().map(|reward| (reward - mean) / scale).collect()
}

pub(crate) fn all_equal(rewards: &[f64]) -> bool {
    rewards.iter().all(|reward| *reward == rewards[0])
}

/// The best and the worst of a group, the first of equals; none where all are equal.
pub(crate) fn best_and_worst(rewards: &[f64]) -> Option<(usize, usize)> {
    let (mut best, mut worst) = (0, 0);
    for (i, reward) in rewards.iter().enumerate() {
        if *reward > rewards[best] {
            best = i;
        }
        if *reward < rewards[worst] {
            worst = i;
        }
    }
    (best != worst).then_some((best, worst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_the_baseline() {
        assert_eq!(leave_one_out(&[1.0, 2.0, 6.0]), [1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]);
        assert_eq!(leave_one_out(&[0.7; 4]), [0.0; 4]);
    }

    #[test]
    fn rewards_are_standardised_within_their_group() {
        // Mean 3, sample deviation sqrt(7).
        let scaled = relative(&[1.0, 2.0, 6.0], true);
        for (found, distance) in scaled.iter().zip([-2.0, -1.0, 3.0]) {
            assert!((found - distance / (7.0_f64.sqrt() + 1e-4)).abs() < 1e-12);
        }
        assert_eq!(relative(&[1.0, 2.0, 6.0], false), [-2.0, -1.0, 3.0]);
    }

    #[test]
    fn constant_rewards_prefer_nothing() {
        // 0.1 summed thrice is not 0.3, and must not be blown up by a deviation of nearly 0.
        assert_eq!(relative(&[0.1; 3], true), [0.0; 3]);
        assert_eq!(best_and_worst(&[0.1; 3]), None);
    }

    #[test]
    fn the_first_of_equals_is_taken() {
        assert_eq!(best_and_worst(&[1.0, 3.0, 0.0, 3.0, 0.0]), Some((1, 2)));
    }
}
