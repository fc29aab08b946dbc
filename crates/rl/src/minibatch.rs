//! Several updates from one batch: in every epoch its episodes, shuffled, in parts.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// How a batch is gone through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) epochs: usize,
    /// Updates in an epoch.
    pub(crate) minibatches: usize,
    /// The job's.
    pub(crate) seed: u64,
}

impl Schedule {
    /// Which of `episodes` each update of step `step` learns from: as equal parts as can be, none
    /// empty. Every shuffle has a stream of its own, so no random state is saved.
    pub(crate) fn updates(self, episodes: usize, step: u64) -> Vec<Vec<usize>> {
        let parts = self.minibatches.min(episodes);
        let mut updates = Vec::new();
        for epoch in 0..self.epochs as u64 {
            let mut order: Vec<usize> = (0..episodes).collect();
            if parts > 1 {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(step * self.epochs as u64 + epoch);
                order.shuffle(&mut rng);
            }
            let bound = |part: usize| part * episodes / parts;
            updates.extend((0..parts).map(|part| order[bound(part)..bound(part + 1)].to_vec()));
        }
        updates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_visits_every_episode_once_in_another_order() {
        let schedule = Schedule { epochs: 3, minibatches: 4, seed: 7 };
        let updates = schedule.updates(10, 5);
        assert_eq!(updates.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 2, 3].repeat(3));
        let epochs: Vec<Vec<usize>> = updates.chunks(4).map(|parts| parts.concat()).collect();
        for epoch in &epochs {
            let mut seen = epoch.clone();
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_eq!(updates, schedule.updates(10, 5), "the order is that of the step");
        assert_ne!(updates, schedule.updates(10, 6));
    }

    #[test]
    fn a_small_batch_has_no_empty_part() {
        let schedule = Schedule { epochs: 2, minibatches: 4, seed: 0 };
        assert_eq!(schedule.updates(1, 0), [vec![0], vec![0]]);
    }
}
