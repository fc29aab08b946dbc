//! One head-to-head: two arms' responses to one prompt, and which is better.

use std::cmp::Ordering;

/// Two arms' responses to one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Contest {
    /// Number of the prompt; contests of one prompt are not independent.
    pub prompt: usize,
    /// Name of the first arm.
    pub first: String,
    /// Name of the second.
    pub second: String,
    /// Characters of both responses.
    pub lengths: [usize; 2],
    /// None where it could not be judged.
    pub verdict: Option<Verdict>,
}

/// Which of two responses is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Probability that the first is.
    pub preference: f64,
    /// Probability that the response *shown first* is, with the first arm's shown first and with the
    /// second's; none where only the verdict is known.
    pub orders: Option<[f64; 2]>,
}

impl Contest {
    /// The same, seen from the other arm.
    #[must_use]
    pub fn exchanged(self) -> Self {
        let exchange = |verdict: Verdict| Verdict {
            preference: 1.0 - verdict.preference,
            orders: verdict.orders.map(|[first, second]| [second, first]),
        };
        let [first, second] = self.lengths;
        Self {
            prompt: self.prompt,
            first: self.second,
            second: self.first,
            lengths: [second, first],
            verdict: self.verdict.map(exchange),
        }
    }

    /// Seen from the arm whose name comes first.
    pub(crate) fn canonical(self) -> Self {
        if self.first > self.second { self.exchanged() } else { self }
    }
}

impl Verdict {
    /// 1 where the first arm wins, 0 where the second does, one half for a tie, which is any
    /// preference no further than `tie_band` from one half.
    pub fn outcome(&self, tie_band: f64) -> f64 {
        let margin = self.preference - 0.5;
        if margin.abs() <= tie_band {
            return 0.5;
        }
        match margin.partial_cmp(&0.0) {
            Some(Ordering::Greater) => 1.0,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_whatever_lies_within_the_band() {
        let outcome = |preference, band| Verdict { preference, orders: None }.outcome(band);
        assert_eq!([0.5, 0.51, 0.49].map(|p| outcome(p, 0.0)), [0.5, 1.0, 0.0]);
        assert_eq!([0.55, 0.45, 0.625].map(|p| outcome(p, 0.1)), [0.5, 0.5, 1.0]);
    }
}
