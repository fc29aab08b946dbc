//! What goes wrong, and when: drawn from a seed. How the processes meet is not, so that each seed is
//! another storm and each run of it another ride.

use crate::job::Size;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to a labeler, by chance wherever it is, or while its result is on its way to Redis.
    LabelerKilled,
    /// SIGSTOP to a labeler whose result is on its way to Redis. It arrives when another has taken the
    /// item over; then SIGCONT, and the zombie goes on.
    LabelerFrozen,
    /// SIGKILL to Redis.
    RedisKilled,
    /// SIGKILL to the coordinator.
    CoordinatorKilled,
    /// SIGKILL to the learner in the middle of a step.
    LearnerKilled,
    /// SIGKILL to the learner while a training state is half written.
    CheckpointTorn,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::LabelerKilled,
        Self::LabelerFrozen,
        Self::RedisKilled,
        Self::CoordinatorKilled,
        Self::LearnerKilled,
        Self::CheckpointTorn,
    ];
}

/// How much goes wrong.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The job.
    pub job: Size,
    /// Pairs among the job's that are poison.
    pub poison: usize,
    /// How long each pair takes at least; the storm must not be slower than the job.
    pub pace: Duration,
    /// Labelers at work.
    pub labelers: usize,
    /// How often each fault happens.
    pub labeler_kills: usize,
    /// As above.
    pub labeler_freezes: usize,
    /// As above; the last hits the policy's training.
    pub redis_kills: usize,
    /// As above; the last hits the policy's training.
    pub coordinator_kills: usize,
}

/// A fault and its hour: after this many results of rollout workers and labelers.
pub type Planned = (usize, Fault);

/// The faults in their order, and the poison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Faults by the hour.
    pub faults: Vec<Planned>,
    /// Numbers of the pairs that are poison.
    pub poison: BTreeSet<usize>,
}

/// Results of the two checks.
const CHECKS: usize = 2;
/// Rollouts of a policy step.
const STEP: usize = 8;

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, scale: &Scale) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let Scale { job: Size { pairs, steps }, .. } = *scale;
        // Each pair is sampled and labelled. What is left at the end is for faults that came late.
        let labelling = 2 * pairs;
        let labelling = CHECKS + labelling / 20..CHECKS + labelling * 4 / 5;
        let training = CHECKS + 2 * pairs;
        let training = training + STEP..training + (steps - 1) * STEP;

        let mut faults = Vec::new();
        let mut strike = |rng: &mut ChaCha8Rng, fault, times, hours: &Range<usize>| {
            faults.extend((0..times).map(|_| (rng.random_range(hours.clone()), fault)));
        };
        strike(rng, Fault::LabelerKilled, scale.labeler_kills, &labelling);
        strike(rng, Fault::LabelerFrozen, scale.labeler_freezes, &labelling);
        strike(rng, Fault::RedisKilled, scale.redis_kills - 1, &labelling);
        strike(rng, Fault::CoordinatorKilled, scale.coordinator_kills - 1, &labelling);
        for fault in [Fault::RedisKilled, Fault::CoordinatorKilled, Fault::LearnerKilled] {
            strike(rng, fault, 1, &training);
        }
        // Early: where a write is missed the next is tried.
        faults.push((training.start, Fault::CheckpointTorn));
        faults.sort_unstable();
        Self { faults, poison: some_of(pairs, scale.poison, rng) }
    }
}

/// `count` of the numbers below `below`, from its middle half.
fn some_of(below: usize, count: usize, rng: &mut impl Rng) -> BTreeSet<usize> {
    let mut numbers: Vec<usize> = (below / 4..below * 3 / 4).collect();
    numbers.shuffle(rng);
    numbers.into_iter().take(count).collect()
}

#[test]
fn a_seed_is_a_plan_and_another_is_another() {
    let scale = crate::SHORT;
    assert_eq!(Plan::draw(1, &scale), Plan::draw(1, &scale));
    assert_ne!(Plan::draw(1, &scale), Plan::draw(2, &scale));
    assert_eq!(Plan::draw(1, &scale).poison.len(), scale.poison);
}
