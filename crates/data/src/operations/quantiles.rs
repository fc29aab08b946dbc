//! Quantiles of lengths without keeping the lengths.

use serde::Serialize;
use std::collections::BTreeMap;

/// Bits of a length that are told apart: 0.8 % of it.
const PRECISION_BITS: u32 = 7;

/// Counts of lengths in buckets: one for each length below 256, then 128 for each doubling (the idea
/// of HdrHistogram). At most 7,552 buckets, whatever is added.
#[derive(Debug, Clone, Default)]
pub(crate) struct LengthSketch {
    buckets: BTreeMap<u64, u64>,
    count: u64,
    max: u64,
}

impl LengthSketch {
    /// Adds a length.
    pub(crate) fn add(&mut self, length: u64) {
        *self.buckets.entry(floor(length)).or_default() += 1;
        self.count += 1;
        self.max = self.max.max(length);
    }

    /// The quantiles of what was added, none of nothing.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let quantile = |share: f64| self.quantile(share);
        (self.count > 0).then(|| Quantiles {
            min: quantile(0.0),
            p10: quantile(0.1),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: self.max,
        })
    }

    /// The length, or up to 0.8 % less, of rank `share` among those added.
    fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let reaches = |(_, count): &(&u64, &u64)| {
            seen += **count;
            seen >= rank
        };
        self.buckets.iter().find(reaches).map_or(self.max, |(length, _)| *length)
    }
}

/// The least length of the bucket that `length` is in: its leading bits.
fn floor(length: u64) -> u64 {
    let drop = (u64::BITS - length.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
    length >> drop << drop
}

/// Where lengths lie, each up to 0.8 % too low; below 256, and the largest, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: u64,
    /// A tenth is not above it.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// Nine tenths are not above it.
    pub p90: u64,
    /// 99 of 100 are not above it.
    pub p99: u64,
    /// The largest, exact.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_0_8_percent_low() {
        let mut sketch = LengthSketch::default();
        assert!(sketch.quantiles().is_none());
        (1..=100_000).for_each(|length| sketch.add(length));
        let found = sketch.quantiles().unwrap();
        let near = |found: u64, exact: u64| found <= exact && exact - found <= exact / 128 + 1;
        assert_eq!((found.min, found.max), (1, 100_000));
        assert!(near(found.p10, 10_000) && near(found.p50, 50_000), "{found:?}");
        assert!(near(found.p90, 90_000) && near(found.p99, 99_000), "{found:?}");
        assert!(sketch.buckets.len() < 2000);
    }

    #[test]
    fn short_lengths_are_exact() {
        assert!((0..256).all(|length| floor(length) == length));
        assert_eq!((floor(257), floor(u64::MAX)), (256, 0xff << 56));
    }
}
