//! Which response is called A is nobody's business: exchanging A and B in every pair changes no
//! number that is not about A.

use super::fixture::{answer, arm, audit, failed, observation};
use crate::{Answer, Arm, ArmAudit, Human, Observation, document};
use proptest::prelude::*;
use rlaif_stats::Logistic;
use rlaif_types::Judgement;

fn exchanged_answer(answer: &Judgement<Answer>) -> Judgement<Answer> {
    let exchange = |a: Answer| Answer { label: a.label.swapped(), ab: a.ba, ba: a.ab, ..a };
    answer.clone().map(exchange)
}

fn exchanged(arm: &Arm) -> Arm {
    let exchange = |pair: &Observation| Observation {
        len_a: pair.len_b,
        len_b: pair.len_a,
        human: pair.human.map(|h| Human { prefers_a: !h.prefers_a, ..h }),
        answer: exchanged_answer(&pair.answer),
        repeats: pair.repeats.iter().map(exchanged_answer).collect(),
        ..pair.clone()
    };
    Arm { observations: arm.observations.iter().map(exchange).collect(), ..arm.clone() }
}

fn any_answer() -> impl Strategy<Value = Judgement<Answer>> {
    // Quarters, so that ties and certainty occur.
    let quarters = (0..=4_u8, 0..=4_u8).prop_map(|(a, b)| (f64::from(a) / 4.0, f64::from(b) / 4.0));
    prop_oneof![
        4 => quarters.prop_map(|(ab, ba)| answer(ab, ba)),
        4 => (0.0..=1.0, 0.0..=1.0).prop_map(|(ab, ba)| answer(ab, ba)),
        1 => Just(failed()),
    ]
}

fn any_pair() -> impl Strategy<Value = Observation> {
    let human = proptest::option::of((any::<bool>(), proptest::option::of(1..4_u8)));
    let repeats = proptest::collection::vec(any_answer(), 0..3);
    (0..4, (0..6_usize, 0..6_usize), human, any_answer(), repeats).prop_map(
        |(group, lengths, human, answer, repeats)| {
            let human = human.map(|(prefers_a, confidence)| Human { prefers_a, confidence });
            let pair = observation("", lengths, None, answer);
            Observation { group: format!("prompt {group}"), human, repeats, ..pair }
        },
    )
}

fn any_arm() -> impl Strategy<Value = Arm> {
    proptest::collection::vec(any_pair(), 0..24).prop_map(|mut pairs| {
        pairs.iter_mut().enumerate().for_each(|(number, pair)| pair.id = number.to_string());
        arm(pairs)
    })
}

fn close(a: Option<Logistic>, b: Option<Logistic>) -> bool {
    match (a, b) {
        // Newton's steps end within 1e-10 of the optimum.
        (Some(a), Some(b)) => (a.slope - b.slope).abs() < 1e-6 * (1.0 + a.slope.abs()),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn audited(arm: Arm) -> ArmAudit {
    audit(&[arm]).arms.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exchanging_a_and_b_everywhere_changes_nothing(arm in any_arm()) {
        let (here, there) = (audited(arm.clone()), audited(exchanged(&arm)));
        prop_assert_eq!(here.agreement.overall, there.agreement.overall);
        prop_assert_eq!(&here.agreement.by_confidence, &there.agreement.by_confidence);
        prop_assert_eq!(&here.agreement.by_human_confidence, &there.agreement.by_human_confidence);
        prop_assert_eq!(&here.agreement.selective, &there.agreement.selective);
        prop_assert_eq!(here.agreement.longer_wins, there.agreement.longer_wins);
        prop_assert_eq!(here.position, there.position);
        prop_assert_eq!(here.stability, there.stability);
        prop_assert_eq!(&here.calibration, &there.calibration);
        prop_assert_eq!(&here.census, &there.census);
        let (length, other) = (here.verbosity, there.verbosity);
        prop_assert_eq!(length.prefers_longer, other.prefers_longer);
        prop_assert_eq!(length.beside_people.excess, other.beside_people.excess);
        prop_assert_eq!(length.beside_people.accuracy_gap, other.beside_people.accuracy_gap);
        prop_assert!(close(length.by_length, other.by_length));
        prop_assert!(close(length.beside_people.people_by_length, other.beside_people.people_by_length));
    }

    #[test]
    fn whatever_is_observed_has_an_audit_that_json_can_hold(arms in proptest::collection::vec(any_arm(), 0..3)) {
        let audit = audit(&arms);
        let json = serde_json::to_string(&audit).unwrap();
        prop_assert_eq!(serde_json::from_str::<crate::Audit>(&json).unwrap(), audit.clone());
        prop_assert!(!document(&audit).to_markdown().contains("NaN"));
    }
}
