//! Inputs with nothing to count: numbers are absent, nothing panics, and JSON stays valid.

use super::fixture::{answer, arm, audit, failed, observation};
use crate::{Arm, Audit, document};
use rlaif_types::Judgement;

fn pairs(human: Option<bool>, answer: &Judgement<crate::Answer>) -> Vec<crate::Observation> {
    (0..3).map(|i| observation(&i.to_string(), (i, 2), human, answer.clone())).collect()
}

/// The audit as it comes back from JSON; a number that is not finite would not.
fn stored(arms: &[Arm]) -> Audit {
    let audit = audit(arms);
    let json = serde_json::to_string(&audit).unwrap();
    let back: Audit = serde_json::from_str(&json).unwrap();
    assert_eq!(back, audit, "{json}");
    let document = document(&audit);
    for text in [document.to_markdown(), document.to_html()] {
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
    audit
}

#[test]
fn no_arms_have_a_report_without_numbers() {
    assert!(stored(&[]).labelers.is_empty());
}

#[test]
fn no_pairs_and_only_failures_have_no_rates() {
    for observations in [vec![], pairs(Some(true), &failed())] {
        let audit = stored(&[arm(observations)]);
        let arm = &audit.arms[0];
        assert_eq!(arm.agreement.overall.share, None);
        assert_eq!(arm.position.same_position.share, None);
        assert_eq!((arm.calibration.ece, arm.census.mass), (None, None));
        assert!(document(&audit).to_markdown().contains("n/a"));
    }
}

#[test]
fn without_people_position_and_length_are_still_measured() {
    let audit = stored(&[arm(pairs(None, &answer(0.9, 0.2)))]);
    let arm = &audit.arms[0];
    assert_eq!(arm.agreement.overall.trials, 0);
    assert_eq!((arm.agreement.longer_wins.advantage, arm.calibration.brier), (None, None));
    assert_eq!(arm.verbosity.beside_people.excess, None);
    assert_eq!(arm.position.consistent.share, Some(1.0));
    assert_eq!(arm.verbosity.prefers_longer.share, Some(0.0));
}

#[test]
fn ties_alone_are_half_an_agreement_and_have_no_temperature() {
    let audit = stored(&[arm(pairs(Some(true), &answer(0.7, 0.7)))]);
    let arm = &audit.arms[0];
    assert_eq!((arm.agreement.overall.share, arm.agreement.ties), (Some(0.5), 3));
    assert_eq!(arm.agreement.longer_wins.test.p_value, 1.0);
    assert_eq!(arm.calibration.temperature, None);
}

#[test]
fn certainty_and_one_prompt_alone_stay_finite() {
    let mut certain = arm(pairs(Some(true), &answer(1.0, 0.0)));
    certain.observations.iter_mut().for_each(|pair| pair.group = "the only prompt".into());
    let audit = stored(&[certain.clone(), certain]);
    // One cluster has no spread to estimate.
    let brier = audit.arms[0].calibration.brier.unwrap();
    assert_eq!((brier.value, brier.clusters, brier.interval), (0.0, 1, None));
    // Both always prefer A: chance alone would do.
    assert_eq!(audit.labelers[0].pairs[0].kappa, None);
    assert_eq!(audit.labelers[0].alpha, None);
}
