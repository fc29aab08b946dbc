//! Five pairs, counted by hand.

use super::fixture::{answer, arm, audit, failed, observation};
use crate::probes::{ProbeAnswer, Side};
use crate::{Arm, ArmAudit, Error, Human, Labeler, Options, Price, Question, Rationales, document};
use rlaif_stats::McNemar;
use rlaif_types::UnscorableReason;

/// Labels 0.85, 0.55, 0.25, a tie, and a failure; lengths and people as the tests say.
fn five() -> Arm {
    arm(vec![
        observation("1", (10, 20), Some(true), answer(0.9, 0.2)),
        observation("2", (30, 10), Some(false), answer(0.8, 0.7)),
        observation("3", (10, 10), Some(false), answer(0.1, 0.6)),
        observation("4", (20, 10), Some(true), answer(0.6, 0.6)),
        observation("5", (10, 10), Some(true), failed()),
    ])
}

fn audited(arm: &Arm) -> ArmAudit {
    audit(std::slice::from_ref(arm)).arms.remove(0)
}

fn close(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-9)
}

#[test]
fn agreement_counts_a_tie_as_half_and_a_failure_not_at_all() {
    let agreement = audited(&five()).agreement;
    // Right, wrong, right, tied.
    assert_eq!((agreement.overall.trials, agreement.overall.share), (4, Some(0.625)));
    assert_eq!(agreement.ties, 1);
}

#[test]
fn rules_without_a_labeler_are_judged_on_the_same_pairs() {
    let agreement = audited(&five()).agreement;
    // Longer: wrong, wrong, equally long, right. A: right, wrong, wrong, right.
    assert_eq!(agreement.longer_wins.agreement.share, Some(0.375));
    assert_eq!(agreement.a_wins.agreement.share, Some(0.5));
    assert!(close(agreement.longer_wins.advantage.map(|a| a.value), 0.25));
    // Both decide the first two pairs; they differ on the first.
    let test = McNemar { only_first: 1, only_second: 0, p_value: 1.0 };
    assert_eq!(agreement.longer_wins.test, test);
}

#[test]
fn confidence_sorts_pairs_into_bands_and_onto_the_curve() {
    let agreement = audited(&five()).agreement;
    // Confidences 0.7, 0.1, 0.5 and 0.
    let bands: Vec<_> = agreement
        .by_confidence
        .iter()
        .map(|b| (b.from, b.agreement.trials, b.agreement.share))
        .collect();
    assert_eq!(bands, [(0.0, 2, Some(0.25)), (0.4, 1, Some(1.0)), (0.6, 1, Some(1.0))]);
    let curve: Vec<_> =
        agreement.selective.iter().map(|p| (p.coverage, p.agreement.share)).collect();
    let expected =
        [(0.25, Some(1.0)), (0.5, Some(1.0)), (0.75, Some(2.0 / 3.0)), (1.0, Some(0.625))];
    assert_eq!(curve, expected);
}

#[test]
fn equally_sure_labels_stay_together_on_the_curve() {
    let pairs = (0..10).map(|i| observation(&i.to_string(), (1, 1), Some(i < 4), answer(0.9, 0.1)));
    let curve = audited(&arm(pairs.collect())).agreement.selective;
    assert_eq!((curve.len(), curve[0].coverage, curve[0].agreement.share), (1, 1.0, Some(0.4)));
}

#[test]
fn people_who_were_surer_have_their_own_row() {
    let mut arm = five();
    let confidences = [9, 8, 9, 8, 9];
    for (pair, confidence) in arm.observations.iter_mut().zip(confidences) {
        let prefers_a = pair.human.unwrap().prefers_a;
        pair.human = Some(Human { prefers_a, confidence: Some(confidence) });
    }
    let bands = audited(&arm).agreement.by_human_confidence;
    let bands: Vec<_> = bands.iter().map(|b| (b.confidence, b.agreement.share)).collect();
    assert_eq!(bands, [(8, Some(0.25)), (9, Some(1.0))]);
}

#[test]
fn position_is_what_both_orders_share() {
    let position = audited(&five()).position;
    // Pairs 2 and 4 follow the first position, 1 and 3 the response.
    assert_eq!(position.same_position.share, Some(0.5));
    assert_eq!(position.prefers_first.share, Some(1.0));
    assert_eq!(position.consistent.share, Some(0.5));
    assert!(close(position.fairness.map(|f| f.value), -0.5));
    // 2 of 2 either way: 2 · 1/4.
    assert_eq!(position.bias.p_value, 0.5);
}

#[test]
fn verbosity_is_measured_against_people_on_the_same_pairs() {
    let verbosity = audited(&five()).verbosity;
    // Of pairs 1, 2 and 4 the labeler prefers the longer in 0, 1 and half; people in 0, 0 and 1.
    assert_eq!(verbosity.prefers_longer.share, Some(0.5));
    assert_eq!(verbosity.beside_people.people_prefer_longer.share, Some(1.0 / 3.0));
    assert!(close(verbosity.beside_people.excess.map(|e| e.value), 0.5 / 3.0));
    // Half agreed where people prefer the longer, one of two where they do not.
    assert!(close(verbosity.beside_people.accuracy_gap.map(|g| g.value), 0.0));
}

#[test]
fn calibration_is_of_the_preferred_response() {
    let calibration = audited(&five()).calibration;
    // 0.85 and 0.75 hold, 0.55 does not, the tie is half right by half.
    assert!(close(calibration.ece, (0.15 + 0.55 + 0.25 + 0.0) / 4.0));
    let brier = (0.0225 + 0.3025 + 0.0625 + 0.25) / 4.0;
    assert!(close(calibration.brier.map(|b| b.value), brier));
}

#[test]
fn failures_mass_and_cost_are_counted() {
    let mut arm = five();
    arm.price = Some(Price { input_per_1k: 0.03, output_per_1k: 0.06 });
    let census = audited(&arm).census;
    assert_eq!((census.pairs, census.answers, census.with_human), (5, 5, 5));
    assert_eq!(census.unscorable_by_reason[&UnscorableReason::PromptTooLong], 1);
    assert_eq!(census.mass.unwrap().below_floor.share, Some(0.0));
    // 800 tokens at 3 cents and 60 at 6 cents a thousand.
    assert!(close(census.dollars_per_label, 0.8 * 0.03 + 0.06 * 0.06));
}

#[test]
fn the_papers_cost_of_a_label_is_reproduced() {
    // 830 prompt and 61 generated tokens in each of two orders (paper section 1).
    let price = Price { input_per_1k: 0.03, output_per_1k: 0.06 };
    assert!((price.of(2 * 830, 2 * 61) - 0.057).abs() < 5e-4);
}

#[test]
fn asking_again_shows_how_stable_answers_are() {
    let mut arm = five();
    // A first: first, first, second. B first: second, second, second. A wins, wins, ties.
    arm.observations[0].repeats = vec![answer(0.8, 0.1), answer(0.1, 0.1), failed()];
    let stability = audited(&arm).stability.unwrap();
    assert_eq!((stability.fewest_answers, stability.most_answers), (3, 3));
    assert!(close(Some(stability.stability.value), (2.0 / 3.0 + 1.0) / 2.0));
    assert_eq!((stability.unanimous.trials, stability.unanimous.share), (1, Some(0.0)));
    assert_eq!(audited(&five()).stability, None);
}

/// The first arm and one that prefers B, B, B, A and A.
fn two() -> Vec<Arm> {
    let answers = [(0.1, 0.9), (0.1, 0.9), (0.1, 0.9), (0.9, 0.1), (0.9, 0.1)];
    let mut second = five();
    for (pair, (ab, ba)) in second.observations.iter_mut().zip(answers) {
        pair.answer = answer(ab, ba);
    }
    second.labeler = Labeler { name: "large".into(), parameters: Some(10_000_000_000) };
    let rationale = Some(Rationales { samples: 4, clamp: Some(0.4) });
    second.question = Question { template: "base".into(), shots: 2, rationale };
    vec![five(), second]
}

#[test]
fn arms_agree_on_the_pairs_that_both_decided() {
    let audit = audit(&two());
    // A, A, B against B, B, B: one in three, which is what chance gives.
    let pair = audit.labelers[0].pairs[0];
    assert_eq!((pair.first, pair.second, pair.agreement.trials), (0, 1, 3));
    assert_eq!(pair.agreement.share, Some(1.0 / 3.0));
    assert!(close(pair.kappa.map(|k| k.value), 0.0));
    // Coincidences 2 AB, 2 BA, 2 BB of 6 ratings, 2 of them A: 1 - 5 · 2 / (2 · 4).
    assert!(close(audit.labelers[0].alpha.map(|a| a.value), -0.25));
}

#[test]
fn the_report_holds_the_numbers() {
    let mut arms = two();
    let asked = |group: &str, after| ProbeAnswer {
        probe: "colon".into(),
        group: group.into(),
        side: Side::A,
        before: None,
        after,
    };
    arms[0].probes = vec![asked("1", answer(0.9, 0.1)), asked("2", answer(0.1, 0.9))];
    let audit = audit(&arms);
    let markdown = document(&audit).to_markdown();
    let expected = [
        "| prompt | tiny | large |",
        "| base, 0-shot | 62.5 [21.9, 90.8] |  |",
        "| base + CoT, 4 samples, clamp 0.4, 2-shot |  |",
        "| 1. summary: tiny, base, 0-shot | 4 | 62.5 [21.9, 90.8] | 1 | 37.5 [9.2, 78.1] | 50.0 [15.0, 85.0] |",
        "| 1. summary: tiny, base, 0-shot | 4 | 50.0 [15.0, 85.0] | 100.0 [34.2, 100.0] | 0.500 |",
        "| colon | 2 | 0 | 50.0 [9.5, 90.5] | n/a | n/a |",
        "| 1. summary: tiny, base, 0-shot | 5 | 5 | 5 | 5 | 20.0 [3.6, 62.4] | 0.900 |",
        "| arm | prompt_too_long |",
    ];
    for row in expected {
        assert!(markdown.contains(row), "{row} is not in\n{markdown}");
    }
    assert!(!markdown.contains("NaN"), "{markdown}");
    let html = document(&audit).to_html();
    assert!(html.contains("62.5 [21.9, 90.8]") && !html.contains("NaN"));
}

#[test]
fn inputs_that_would_count_wrong_are_refused() {
    let refused = |arm: &Arm| crate::Audit::of(std::slice::from_ref(arm), Options::default());
    let mut twice = five();
    twice.observations[1].id = "1".into();
    assert!(matches!(refused(&twice), Err(Error::DuplicateId { .. })));
    let mut heavy = five();
    heavy.observations[0].answer.as_mut().unwrap().mass = f64::NAN;
    assert!(matches!(refused(&heavy), Err(Error::Mass { .. })));
    let mut cheap = five();
    cheap.price = Some(Price { input_per_1k: -1.0, output_per_1k: 0.0 });
    assert!(matches!(refused(&cheap), Err(Error::Price { .. })));
    let options = Options { mass_floor: f64::NAN, ..Options::default() };
    assert!(matches!(crate::Audit::of(&[], options), Err(Error::MassFloor(_))));
}
