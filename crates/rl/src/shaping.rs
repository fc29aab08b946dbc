//! What is made of rewards before they are learned from: normalisation, clipping, length penalty.

use crate::metrics::mean_and_variance;
use crate::state::{StateError, TrainerState};
use rlaif_types::{RewardNormalisation, RewardShaping};

/// Rewards that differ by less are all alike: dividing by it would blow up rounding errors.
const SMALLEST_DEVIATION: f64 = 1e-8;

/// Shapes rewards, and remembers those it has seen where it normalises by all of them.
pub(crate) struct RewardShaper {
    config: RewardShaping,
    seen: Moments,
}

impl RewardShaper {
    pub(crate) fn new(config: RewardShaping) -> Self {
        Self { config, seen: Moments::default() }
    }

    /// Whether rewards go through as they came.
    pub(crate) fn is_plain(&self) -> bool {
        self.config.is_plain()
    }

    /// The rewards of one step, of responses with that many tokens.
    pub(crate) fn shape(&mut self, rewards: &[f64], tokens: &[usize]) -> Vec<f64> {
        let (mean, deviation) = match self.config.normalise {
            RewardNormalisation::None => (0.0, 1.0),
            RewardNormalisation::Batch => {
                let (mean, variance) = mean_and_variance(rewards);
                (mean, variance.sqrt())
            }
            RewardNormalisation::Running => {
                rewards.iter().for_each(|reward| self.seen.add(*reward));
                (self.seen.mean, self.seen.deviation())
            }
        };
        let scale = if deviation < SMALLEST_DEVIATION { 1.0 } else { deviation };
        let clip = self.config.clip.unwrap_or(f64::INFINITY);
        let shaped = rewards.iter().zip(tokens).map(|(reward, tokens)| {
            let normalised = ((reward - mean) / scale).clamp(-clip, clip);
            normalised - self.config.length_penalty * *tokens as f64
        });
        shaped.collect()
    }

    pub(crate) fn save(&self, state: &mut TrainerState) {
        if self.config.normalise == RewardNormalisation::Running {
            state.put_number("rewards.count", self.seen.count);
            state.put_float("rewards.mean", self.seen.mean);
            state.put_float("rewards.squares", self.seen.squares);
        }
    }

    pub(crate) fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        if self.config.normalise == RewardNormalisation::Running {
            self.seen = Moments {
                count: state.number("rewards.count")?,
                mean: state.float("rewards.mean")?,
                squares: state.float("rewards.squares")?,
            };
        }
        Ok(())
    }
}

/// Mean and deviation of a growing list, by Welford's recurrence.
#[derive(Default)]
struct Moments {
    count: u64,
    mean: f64,
    /// Sum of squared distances from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1;
        let before = x - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (x - self.mean);
    }

    fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaper(normalise: RewardNormalisation, clip: Option<f64>, penalty: f64) -> RewardShaper {
        RewardShaper::new(RewardShaping { normalise, clip, length_penalty: penalty })
    }

    #[test]
    fn plain_rewards_keep_their_bits() {
        let rewards = [0.1 + 0.2, -1e-300, 1e300];
        assert_eq!(shaper(RewardNormalisation::None, None, 0.0).shape(&rewards, &[1; 3]), rewards);
    }

    #[test]
    fn a_batch_is_normalised_clipped_and_charged_for_its_length() {
        // Mean 4, deviation 2 sqrt(2): -sqrt(2), 0, sqrt(2), 0.
        let mut shaper = shaper(RewardNormalisation::Batch, Some(1.0), 0.25);
        let shaped = shaper.shape(&[0.0, 4.0, 8.0, 4.0], &[1, 2, 0, 4]);
        assert_eq!(shaped, [-1.25, -0.5, 1.0, -1.0]);
    }

    #[test]
    fn running_normalisation_is_over_all_rewards_and_goes_on_from_a_saved_state() {
        let all = [1.0, 5.0, -2.0, 7.5, 0.25];
        let mut straight = shaper(RewardNormalisation::Running, None, 0.0);
        straight.shape(&all[..2], &[1; 2]);
        let mut state = TrainerState::default();
        straight.save(&mut state);
        let mut resumed = shaper(RewardNormalisation::Running, None, 0.0);
        resumed.load(&TrainerState::from_bytes(state.to_bytes()).unwrap()).unwrap();
        let shaped = straight.shape(&all[2..], &[1; 3]);
        assert_eq!(shaped, resumed.shape(&all[2..], &[1; 3]));
        let (mean, variance) = mean_and_variance(&all);
        for (reward, shaped) in all[2..].iter().zip(shaped) {
            assert!((shaped - (reward - mean) / variance.sqrt()).abs() < 1e-12);
        }
    }

    #[test]
    fn constant_rewards_become_zero() {
        for normalise in [RewardNormalisation::Batch, RewardNormalisation::Running] {
            let mut shaper = shaper(normalise, None, 0.0);
            assert_eq!(shaper.shape(&[0.7; 4], &[1; 4]), [0.0; 4]);
            assert_eq!(shaper.shape(&[0.7], &[1]), [0.0]);
        }
    }
}
