//! How well scores rank.

/// Probability that a positive outscores a negative, ties half; none where either side is empty.
pub fn auc(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    let pairs = positives.len() * negatives.len();
    let wins: f64 = positives
        .iter()
        .flat_map(|p| negatives.iter().map(move |n| (p, n)))
        .map(|(p, n)| {
            if p > n {
                1.0
            } else if p == n {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    (pairs > 0).then(|| wins / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ordered_pairs_with_ties_as_half() {
        assert_eq!(auc(&[3.0, 1.0], &[1.0, 0.0]), Some(3.5 / 4.0));
        assert_eq!(auc(&[], &[1.0]), None);
    }
}
