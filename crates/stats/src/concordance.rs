//! Kendall's W: how far raters who rank the same things agree (Kendall and Babington Smith, 1939).

/// W of several raters' rankings without ties: 1 where all agree, near 0 where their ranks cancel.
///
/// Each ranking has the rank of every thing, in the same order of things: `1..=n`, each once.
/// None for fewer than two raters or two things, which cannot agree or disagree.
///
/// # Panics
/// When the rankings are not of equally many things.
pub fn kendall_w(rankings: &[Vec<usize>]) -> Option<f64> {
    let raters = rankings.len();
    let things = rankings.first()?.len();
    assert!(rankings.iter().all(|ranks| ranks.len() == things), "rankings of different things");
    if raters < 2 || things < 2 {
        return None;
    }
    let (m, n) = (raters as f64, things as f64);
    let mean = m * (n + 1.0) / 2.0;
    let deviation = |thing: usize| {
        let sum: usize = rankings.iter().map(|ranks| ranks[thing]).sum();
        (sum as f64 - mean).powi(2)
    };
    let squares: f64 = (0..things).map(deviation).sum();
    Some(12.0 * squares / (m * m * (n * n * n - n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_raters_of_three_responses_by_hand() {
        // Rank sums 4, 5 and 9 around a mean of 6: S = 4 + 1 + 9 = 14; W = 12 * 14 / (9 * 24).
        let w = kendall_w(&[vec![1, 2, 3], vec![1, 2, 3], vec![2, 1, 3]]).unwrap();
        assert!((w - 168.0 / 216.0).abs() < 1e-15);
    }

    #[test]
    fn full_agreement_is_one_and_a_full_circle_is_none() {
        assert_eq!(kendall_w(&vec![vec![3, 1, 2, 4]; 5]), Some(1.0));
        assert_eq!(kendall_w(&[vec![1, 2, 3], vec![2, 3, 1], vec![3, 1, 2]]), Some(0.0));
    }

    #[test]
    fn one_rater_or_one_thing_agrees_with_nobody() {
        assert_eq!(kendall_w(&[]), None);
        assert_eq!(kendall_w(&[vec![1, 2]]), None);
        assert_eq!(kendall_w(&[vec![1], vec![1]]), None);
    }
}
