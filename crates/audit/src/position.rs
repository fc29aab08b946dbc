//! Position bias: what changes when the responses change places (paper section 1; 2406.07791).

use crate::sample::Scored;
use rlaif_stats::{Estimate, PositionBias, Share, bootstrap_mean};
use serde::{Deserialize, Serialize};

/// What a labeler makes of the order, over all scored pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Counts, and the two-sided binomial test of which position it prefers.
    pub bias: PositionBias,
    /// Share of pairs in which the same position wins in both orders.
    pub same_position: Share,
    /// Of those, share in which it is the first.
    pub prefers_first: Share,
    /// Position consistency: share of pairs in which the same response wins in both orders.
    pub consistent: Share,
    /// Preference fairness: `(second - first) / pairs`, counting pairs that the second, or the
    /// first, position wins in both orders. 0 is fair, -1 always prefers the first, 1 the second.
    ///
    /// Shi et al. (2406.07791) weight each count by its share of the inconsistent pairs and scale
    /// by the extremes that can be reached; with all pairs inconsistent one way as the extremes,
    /// `(s·s/(s+f) - f·f/(s+f)) / pairs` is this. They count an order that is tied with the
    /// position that wins the other; here such a pair is neither.
    pub fairness: Option<Estimate>,
}

impl Position {
    pub(crate) fn of(scored: &[Scored<'_>], seed: u64) -> Self {
        let orders = |s: &Scored<'_>| (s.answer.ab.value(), s.answer.ba.value());
        let bias = PositionBias::of(scored.iter().map(orders));
        let count = |count: u64, of: u64| Share::of(count as f64, of as usize);
        let leaning = scored.iter().map(|s| {
            let (ab, ba) = orders(s);
            let first = ab > 0.5 && ba > 0.5;
            let second = ab < 0.5 && ba < 0.5;
            (s.group, f64::from(i8::from(second) - i8::from(first)))
        });
        Self {
            bias,
            same_position: count(bias.same_position, bias.pairs),
            prefers_first: count(bias.prefers_first, bias.same_position),
            consistent: count(bias.consistent, bias.pairs),
            fairness: bootstrap_mean(leaning, seed),
        }
    }
}
