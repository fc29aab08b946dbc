//! Position bias of a labeler (paper section 1).

use crate::binomial_two_sided;
use serde::{Deserialize, Serialize};

/// How often a labeler sticks to a position when the responses change places.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PositionBias {
    /// Pairs judged in both orders.
    pub pairs: u64,
    /// Pairs in which the same *position* won both times.
    pub same_position: u64,
    /// Pairs in which the same *response* won both times. In the remaining ones an order was tied.
    pub consistent: u64,
    /// Of the pairs decided by position, those in which the first position won.
    pub prefers_first: u64,
    /// Two-sided binomial p-value of `prefers_first` against an even split.
    pub p_value: f64,
}

impl PositionBias {
    /// From the probability that the response *shown first* wins, in both orders of each pair.
    pub fn of(orders: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (mut pairs, mut same_position, mut consistent, mut prefers_first) = (0, 0, 0, 0);
        for (ab, ba) in orders {
            pairs += 1;
            if ab > 0.5 && ba > 0.5 {
                same_position += 1;
                prefers_first += 1;
            } else if ab < 0.5 && ba < 0.5 {
                same_position += 1;
            } else if ab != 0.5 && ba != 0.5 {
                consistent += 1;
            }
        }
        let p_value = binomial_two_sided(prefers_first, same_position);
        Self { pairs, same_position, consistent, prefers_first, p_value }
    }

    /// Of these pairs and the `other`'s together.
    pub fn and(&self, other: &Self) -> Self {
        let (same_position, prefers_first) =
            (self.same_position + other.same_position, self.prefers_first + other.prefers_first);
        Self {
            pairs: self.pairs + other.pairs,
            same_position,
            consistent: self.consistent + other.consistent,
            prefers_first,
            p_value: binomial_two_sided(prefers_first, same_position),
        }
    }

    /// Share of pairs in which the same response won in both orders.
    pub fn consistent_rate(&self) -> f64 {
        if self.pairs == 0 { 0.0 } else { self.consistent as f64 / self.pairs as f64 }
    }

    /// Share of pairs decided by position.
    pub fn same_position_rate(&self) -> f64 {
        if self.pairs == 0 { 0.0 } else { self.same_position as f64 / self.pairs as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_is_tied_is_neither_consistent_nor_decided_by_position() {
        let bias = PositionBias::of([(0.9, 0.1), (0.9, 0.5), (0.5, 0.5)]);
        assert_eq!((bias.pairs, bias.same_position, bias.consistent), (3, 0, 1));
    }

    #[test]
    fn what_is_counted_in_parts_is_what_is_counted_at_once() {
        let orders = [(0.9, 0.8), (0.7, 0.6), (0.2, 0.9), (0.1, 0.1), (0.9, 0.5)];
        let (some, rest) = orders.split_at(2);
        let parts =
            PositionBias::of(some.iter().copied()).and(&PositionBias::of(rest.iter().copied()));
        assert_eq!(parts, PositionBias::of(orders));
    }

    #[test]
    fn a_labeler_that_follows_content_changes_position_with_it() {
        let bias = PositionBias::of([(0.9, 0.2), (0.8, 0.7), (0.6, 0.9), (0.1, 0.4)]);
        assert_eq!((bias.pairs, bias.same_position, bias.prefers_first), (4, 3, 2));
        assert_eq!(bias.same_position_rate(), 0.75);
        assert_eq!(bias.p_value, 1.0);
        assert_eq!(bias.consistent_rate(), 0.25);
    }
}
