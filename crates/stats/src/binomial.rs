//! The exact binomial test.

/// Two-sided p-value of `successes` in `trials` under probability one half: the chance of an
/// outcome at least as far from the middle.
pub fn binomial_two_sided(successes: u64, trials: u64) -> f64 {
    let tail = successes.min(trials - successes.min(trials));
    let (mut log_choose, mut sum) = (0.0_f64, 0.0_f64);
    let log_all = trials as f64 * 2.0_f64.ln();
    for k in 0..=tail {
        if k > 0 {
            log_choose += ((trials - k + 1) as f64).ln() - (k as f64).ln();
        }
        sum += (log_choose - log_all).exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_can_be_counted_by_hand() {
        // 9 or more of 10 either way: 2 · (1 + 10) / 1024.
        assert!((binomial_two_sided(9, 10) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((binomial_two_sided(1, 10) - 22.0 / 1024.0).abs() < 1e-12);
        assert_eq!(binomial_two_sided(5, 10), 1.0);
        assert_eq!(binomial_two_sided(0, 0), 1.0);
        assert!(binomial_two_sided(3000, 5000) < 1e-40);
    }

    #[test]
    fn larger_cases_equal_sums_of_whole_numbers() {
        // 2 * sum(comb(n, i) for i in range(min(k, n - k) + 1)) / 2**n, by Python's integers.
        for (successes, trials, expected) in [
            (15, 24, 0.307_456_254_959_106_45),
            (63, 100, 0.012_032_975_725_363_477),
            (7, 96, 3.259_152_789_937_673_3e-19),
        ] {
            let found = binomial_two_sided(successes, trials);
            assert!((found / expected - 1.0).abs() < 1e-12, "{successes} of {trials}: {found}");
        }
    }
}
