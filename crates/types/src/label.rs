//! Soft labels: an AI labeler's preference as a probability.

use crate::{ContentHash, Hasher, Item, Pair};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Probability in `[0, 1]` that response A is preferred over response B (paper section 1).
///
/// Values of one order live on a grid of 2⁻⁴⁰, means of two orders on one of 2⁻⁴¹. There `1 - p` and
/// the mean are exact in `f64`, which is what makes "swapping the candidates swaps the label" an
/// equality instead of an approximation.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct SoftLabel(f64);

impl SoftLabel {
    const GRID: f64 = (1u64 << 40) as f64;

    /// Neither candidate is preferred.
    pub const TIE: Self = Self(0.5);

    /// All for A, or all for B.
    pub fn certain(prefers_a: bool) -> Self {
        Self(if prefers_a { 1.0 } else { 0.0 })
    }

    /// Rounds `p` to the grid.
    ///
    /// # Errors
    /// When `p` is not a number in `[0, 1]`.
    pub fn new(p: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&p) {
            Ok(Self((p * Self::GRID).round() / Self::GRID))
        } else {
            Err(format!("a soft label is a probability in [0, 1], not {p}"))
        }
    }

    /// Softmax over the two verdict tokens alone: `p(first)` from their log-probabilities.
    ///
    /// # Errors
    /// When either log-probability is NaN, or both are minus infinity.
    pub fn from_logprobs(first: f64, second: f64) -> Result<Self, String> {
        Self::new(1.0 / (1.0 + (second - first).exp()))
    }

    /// The label of both presentation orders: the mean of the two *distributions* after mapping
    /// the second, in which the candidates were exchanged, back to candidate identity.
    pub fn from_both_orders(ab: SoftLabel, ba: SoftLabel) -> Self {
        Self((ab.0 + ba.swapped().0) / 2.0)
    }

    /// The mean of several labels, on the grid of two orders' means. Exchanging the candidates of
    /// all exchanges the mean, exactly: what is averaged and rounded is the distance from 1/2, whose
    /// sign alone changes.
    ///
    /// # Panics
    /// Without labels.
    pub fn mean(labels: &[Self]) -> Self {
        assert!(!labels.is_empty(), "the mean of no labels");
        let distance: f64 = labels.iter().map(|label| label.0 - 0.5).sum();
        let grid = 2.0 * Self::GRID;
        Self(0.5 + (distance / labels.len() as f64 * grid).round() / grid)
    }

    /// All for the candidate that is preferred; half for each where none is.
    pub fn vote(self) -> Self {
        match self.0.partial_cmp(&0.5) {
            Some(std::cmp::Ordering::Greater) => Self(1.0),
            Some(std::cmp::Ordering::Less) => Self(0.0),
            _ => Self::TIE,
        }
    }

    /// The label moved into `[low, 1 - low]`; exchanging the candidates exchanges that too.
    ///
    /// # Panics
    /// When `low` is not in `[0, 1/2]`.
    pub fn clamped(self, low: f64) -> Self {
        assert!((0.0..=0.5).contains(&low), "a clamp of {low}");
        let low = (low * Self::GRID).round() / Self::GRID;
        Self(self.0.clamp(low, 1.0 - low))
    }

    /// `1 - p`, exactly.
    pub fn swapped(self) -> Self {
        Self(1.0 - self.0)
    }

    /// How sure the label is: `|2p - 1|`, 0 for a tie and 1 for certainty.
    pub fn confidence(self) -> f64 {
        (2.0 * self.0 - 1.0).abs()
    }

    /// The probability that A is preferred.
    pub fn value(self) -> f64 {
        self.0
    }

    /// True when the label prefers A. A tie prefers neither.
    pub fn prefers_a(self) -> bool {
        self.0 > 0.5
    }

    /// How right it is to rank the candidates by these rewards: 1 where the preferred one has the higher, one half
    /// where both have the same, else 0. None for a tie, which prefers neither.
    pub fn agreement(self, reward_a: f64, reward_b: f64) -> Option<f64> {
        (self != Self::TIE).then(|| match reward_a == reward_b {
            true => 0.5,
            false => f64::from(u8::from((reward_a > reward_b) == self.prefers_a())),
        })
    }
}

impl TryFrom<f64> for SoftLabel {
    type Error = String;
    /// For stored labels: means of two orders come back as they were.
    fn try_from(p: f64) -> Result<Self, String> {
        Self::new(p)?;
        Ok(Self((p * 2.0 * Self::GRID).round() / (2.0 * Self::GRID)))
    }
}

impl From<SoftLabel> for f64 {
    fn from(label: SoftLabel) -> f64 {
        label.0
    }
}

/// Identity of a label: the hash of the question asked (pair, template, model), so that the same
/// question has the same id wherever and whenever it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelId(pub ContentHash);

impl LabelId {
    /// Identity of the question which of a pair is better: of this labeler, by this template, in this
    /// way of asking where it is not the plain one.
    pub fn of_pair(
        labeler: &ContentHash,
        template: &ContentHash,
        asking: Option<&ContentHash>,
        pair: &Pair,
    ) -> Self {
        let context = pair.prompt.as_context();
        let texts = [context.as_str(), &pair.response_a, &pair.response_b];
        Self::of(labeler, template, asking, &texts)
    }

    /// Identity of the question how good a response is.
    pub fn of_item(
        labeler: &ContentHash,
        template: &ContentHash,
        asking: Option<&ContentHash>,
        item: &Item,
    ) -> Self {
        Self::of(labeler, template, asking, &[&item.prompt.as_context(), &item.response])
    }

    fn of(
        labeler: &ContentHash,
        template: &ContentHash,
        asking: Option<&ContentHash>,
        texts: &[&str],
    ) -> Self {
        let mut hasher = Hasher::new();
        hasher.field(labeler.as_str()).field(template.as_str());
        for text in texts {
            hasher.field(text);
        }
        if let Some(asking) = asking {
            // Or a rating asked in some way would look like a comparison.
            hasher.field("asking").field(asking.as_str());
        }
        Self(hasher.finish())
    }
}

impl fmt::Display for LabelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanging_the_candidates_gives_exactly_one_minus_the_label() {
        // Awkward values on purpose: none is a dyadic fraction.
        for (ab, ba) in [(-0.1, -2.3), (-17.0, -0.003), (-1.0 / 3.0, -1.0 / 7.0)] {
            let first = SoftLabel::from_logprobs(ab, -0.7).unwrap();
            let second = SoftLabel::from_logprobs(ba, -1.1).unwrap();
            let label = SoftLabel::from_both_orders(first, second);
            let exchanged = SoftLabel::from_both_orders(second, first);
            assert_eq!(exchanged.value(), 1.0 - label.value());
        }
    }

    #[test]
    fn a_mean_and_a_clamp_exchange_with_the_candidates_exactly() {
        let labels = [0.1, 1.0 / 3.0, 0.9, 0.123456789, 0.7].map(|p| SoftLabel::new(p).unwrap());
        for count in 1..=labels.len() {
            let labels = &labels[..count];
            let mean = SoftLabel::mean(labels);
            let exchanged: Vec<_> = labels.iter().map(|label| label.swapped()).collect();
            assert_eq!(SoftLabel::mean(&exchanged).value(), 1.0 - mean.value());
            let clamped = mean.clamped(0.4);
            assert_eq!(mean.swapped().clamped(0.4), clamped.swapped());
        }
        let both = SoftLabel::from_both_orders(labels[0], labels[1].swapped());
        assert_eq!(SoftLabel::mean(&labels[..2]), both);
        assert_eq!(SoftLabel::mean(&[labels[1]]), labels[1]);
    }

    #[test]
    fn a_stored_label_comes_back_bit_for_bit() {
        let one = SoftLabel::new(1.0 / 3.0).unwrap();
        let label = SoftLabel::from_both_orders(one, SoftLabel::new(0.1).unwrap());
        let text = serde_json::to_string(&label).unwrap();
        assert_eq!(serde_json::from_str::<SoftLabel>(&text).unwrap().value(), label.value());
    }

    #[test]
    fn rejects_what_is_not_a_probability() {
        for p in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
            assert!(SoftLabel::new(p).is_err(), "{p} was accepted");
        }
        assert!(serde_json::from_str::<SoftLabel>("2.0").is_err());
        assert!(SoftLabel::from_logprobs(f64::NEG_INFINITY, f64::NEG_INFINITY).is_err());
    }
}
