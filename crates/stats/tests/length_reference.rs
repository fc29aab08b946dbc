//! The length corrections against scikit-learn's fit of the same data (`length_reference.py`).

use rlaif_stats::{
    LengthCorrected, LengthRegressor, SizedPreference, length_controlled_win_rate,
    length_corrected_win_rate,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    name: String,
    preferences: Vec<f64>,
    first_lengths: Vec<f64>,
    second_lengths: Vec<f64>,
    length_corrected: Reading,
    length_corrected_by_ratio: Reading,
    length_controlled: Reading,
}

#[derive(Deserialize)]
struct Reading {
    win_rate: f64,
    low: f64,
    high: f64,
    slope: f64,
}

impl Case {
    fn sized(&self) -> impl Iterator<Item = SizedPreference> {
        let lengths = self.first_lengths.iter().zip(&self.second_lengths);
        self.preferences.iter().zip(lengths).map(|(preference, (first, second))| SizedPreference {
            preference: *preference,
            first_length: *first,
            second_length: *second,
        })
    }
}

/// All are Newton steps to the end: what is left is rounding, which 1e-9 leaves room for.
fn assert_close(found: Option<LengthCorrected>, expected: &Reading, what: &str) {
    let found = found.unwrap();
    let pairs = [
        (found.win_rate, expected.win_rate),
        (found.interval.low, expected.low),
        (found.interval.high, expected.high),
        (found.slope, expected.slope),
    ];
    for (found, expected) in pairs {
        assert!((found - expected).abs() < 1e-9, "{what}: {found} is not {expected}");
    }
}

#[test]
fn length_corrections_equal_scikit_learns_fit() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("length_reference.json")).unwrap();
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let sized: Vec<SizedPreference> = case.sized().collect();
        let each_alone = || sized.iter().copied().enumerate();
        let controlled = length_controlled_win_rate(each_alone());
        assert_close(controlled, &case.length_controlled, &case.name);
        let corrected = |by: LengthRegressor| length_corrected_win_rate(each_alone(), by);
        assert_close(corrected(LengthRegressor::LogRatio), &case.length_corrected, &case.name);
        assert_close(
            corrected(LengthRegressor::Ratio),
            &case.length_corrected_by_ratio,
            &case.name,
        );
    }
}
