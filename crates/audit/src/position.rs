//! Position bias: what changes when the responses change places (paper section 1; 2406.07791).

use crate::sample::Scored;
use rlaif_stats::{Estimate, PositionBias, Share, bootstrap_mean};
use serde::{Deserialize, Serialize};

/// What a labeler makes of the order, over all scored pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Counts, and the two-sided binomial test of which position it prefers, of single pairs.
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
        let outcomes: Vec<(usize, Outcome)> =
            scored.iter().map(|s| (s.group, Outcome::of(orders(s)))).collect();
        let share = |wanted: &[Outcome]| {
            Share::of_conditions(outcomes.iter().map(|(group, o)| (*group, wanted.contains(o))))
        };
        let by_position = outcomes.iter().filter_map(|(group, outcome)| match outcome {
            Outcome::First => Some((*group, true)),
            Outcome::Second => Some((*group, false)),
            _ => None,
        });
        let leaning = outcomes.iter().map(|(group, outcome)| match outcome {
            Outcome::First => (*group, -1.0),
            Outcome::Second => (*group, 1.0),
            _ => (*group, 0.0),
        });
        Self {
            bias,
            same_position: share(&[Outcome::First, Outcome::Second]),
            prefers_first: Share::of_conditions(by_position),
            consistent: share(&[Outcome::Response]),
            fairness: bootstrap_mean(leaning, seed),
        }
    }
}

/// What won in both orders of a pair.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    /// The response shown first.
    First,
    /// The response shown second.
    Second,
    /// The same response.
    Response,
    /// Neither: an order was tied.
    Open,
}

impl Outcome {
    /// From the probability that the response shown first wins, in both orders.
    fn of((ab, ba): (f64, f64)) -> Self {
        match (ab > 0.5, ba > 0.5) {
            _ if ab == 0.5 || ba == 0.5 => Self::Open,
            (true, true) => Self::First,
            (false, false) => Self::Second,
            _ => Self::Response,
        }
    }
}
