//! Seeds: every draw of a run depends on the job's seed and on what it is for, not on when it
//! happens. Nothing about random state needs saving.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rlaif_types::Hasher;

/// The seed of draw `index` for `purpose`.
pub fn seed_for(seed: u64, purpose: &str, index: u64) -> u64 {
    let mut hasher = Hasher::new();
    hasher.field(seed.to_le_bytes()).field(purpose).field(index.to_le_bytes());
    let hash = hasher.finish();
    u64::from_str_radix(&hash.as_str()[..16], 16).expect("a hash is hex digits")
}

/// Numbers `0..len` in the order of one epoch.
pub fn shuffled(len: usize, seed: u64, purpose: &str, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed_for(seed, purpose, epoch)));
    order
}

/// Which of `len` items step `step` works on: batches run through shuffled epochs without gaps.
pub fn batch_of_step(
    len: usize,
    batch_size: usize,
    step: usize,
    seed: u64,
    purpose: &str,
) -> Vec<usize> {
    let mut epoch_order = (u64::MAX, Vec::new());
    (step * batch_size..(step + 1) * batch_size)
        .map(|draw| {
            let epoch = (draw / len) as u64;
            if epoch_order.0 != epoch {
                epoch_order = (epoch, shuffled(len, seed, purpose, epoch));
            }
            epoch_order.1[draw % len]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_every_item_once() {
        let mut seen: Vec<usize> =
            (0..5).flat_map(|step| batch_of_step(10, 2, step, 7, "test")).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
        assert_ne!(seed_for(7, "a", 0), seed_for(7, "b", 0));
        assert_ne!(shuffled(10, 7, "test", 0), shuffled(10, 7, "test", 1));
    }
}
