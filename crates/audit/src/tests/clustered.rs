//! Several pairs of one prompt: copies of a pair make no number surer.

use super::fixture::{answer, arm, audit, observation};
use crate::{ArmAudit, Observation, RewardAudit, RewardObservation};
use rlaif_stats::{Interval, Share};
use rlaif_types::SoftLabel;

/// Prompts of which the labeler, or the reward model, is right in eight.
const PROMPTS: usize = 12;

/// So many of each prompt's pairs, by the numbers of prompt and pair.
fn each<T>(copies: usize, pair: impl Fn(usize, usize) -> T) -> Vec<T> {
    let numbers = (0..PROMPTS).flat_map(|prompt| (0..copies).map(move |copy| (prompt, copy)));
    numbers.map(|(prompt, copy)| pair(prompt, copy)).collect()
}

fn labelled(copies: usize) -> ArmAudit {
    let pair = |prompt: usize, copy: usize| {
        let said = if prompt < 8 { answer(0.9, 0.3) } else { answer(0.2, 0.6) };
        let lengths = (10 + prompt % 5, 12);
        let pair = observation(&format!("{prompt} {copy}"), lengths, Some(true), said);
        Observation { group: prompt.to_string(), ..pair }
    };
    audit(&[arm(each(copies, pair))]).arms.remove(0)
}

fn rewarded(copies: usize) -> RewardAudit {
    let pair = |prompt: usize, _: usize| RewardObservation {
        group: prompt.to_string(),
        len_a: 10 + prompt % 5,
        len_b: 12,
        human: Some(SoftLabel::certain(true)),
        ai: Some(SoftLabel::new(0.8).unwrap()),
        prefers_a: if prompt < 8 { 0.7 } else { 0.4 },
    };
    RewardAudit::of(&each(copies, pair), 1)
}

/// Sums of equal numbers may round.
fn same(found: Option<Interval>, expected: Option<Interval>) {
    let (found, expected) = (found.unwrap(), expected.unwrap());
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    assert!(
        near(found.low, expected.low) && near(found.high, expected.high),
        "{found:?} {expected:?}"
    );
}

#[test]
fn copies_make_a_labelers_agreement_no_surer() {
    let (once, often) = (labelled(1), labelled(30));
    assert_eq!(often.agreement.overall.trials, 30 * PROMPTS);
    // Where each prompt has one pair it is Wilson's.
    assert_eq!(once.agreement.overall.interval, Share::of(8.0, PROMPTS).interval);
    same(often.agreement.overall.interval, once.agreement.overall.interval);
    let longer = |audit: &ArmAudit| audit.agreement.longer_wins;
    same(longer(&often).agreement.interval, longer(&once).agreement.interval);
    assert_eq!(longer(&often).test, longer(&once).test);
    let shares = |audit: &ArmAudit| {
        [
            audit.position.same_position,
            audit.position.consistent,
            audit.verbosity.prefers_longer,
            audit.verbosity.beside_people.people_prefer_longer,
            audit.census.unscorable,
        ]
    };
    for (often, once) in shares(&often).into_iter().zip(shares(&once)) {
        same(often.interval, once.interval);
    }
    let fitted = |audit: &ArmAudit| audit.calibration.temperature.map(|fit| fit.interval);
    same(fitted(&often), fitted(&once));
    let width = |audit: &ArmAudit| {
        let slope = audit.verbosity.by_length.unwrap().slope_interval;
        slope.high - slope.low
    };
    // The fit's ridge weighs less beside thirty times as many pairs; were each pair to count, it would be a fifth.
    assert!((width(&often) / width(&once) - 1.0).abs() < 0.05);
}

#[test]
fn copies_make_a_reward_models_accuracy_and_calibration_no_surer() {
    let (once, often) = (rewarded(1), rewarded(30));
    for (once, often) in [(once.human, often.human), (once.ai, often.ai)] {
        let (once, often) = (once.unwrap(), often.unwrap());
        assert_eq!((often.pairs, often.accuracy.trials), (30 * PROMPTS, 30 * PROMPTS));
        assert_eq!(once.accuracy.interval, Share::of(8.0, PROMPTS).interval);
        same(often.accuracy.interval, once.accuracy.interval);
        same(often.longer_wins.agreement.interval, once.longer_wins.agreement.interval);
        assert_eq!(often.longer_wins.test, once.longer_wins.test);
        same(often.brier.unwrap().interval, once.brier.unwrap().interval);
        let fitted = [often.temperature, once.temperature].map(|t| t.map(|fit| fit.interval));
        same(fitted[0], fitted[1]);
        for (often, once) in often.bins.iter().zip(&once.bins) {
            same(often.interval, once.interval);
        }
    }
}

#[test]
fn pairs_of_one_prompt_alone_are_worth_one() {
    let mut pairs: Vec<Observation> = (0..9)
        .map(|i| observation(&i.to_string(), (10, 12), Some(i < 6), answer(0.9, 0.3)))
        .collect();
    pairs.iter_mut().for_each(|pair| pair.group = "the only prompt".into());
    let overall = audit(&[arm(pairs)]).arms.remove(0).agreement.overall;
    let share = 6.0 / 9.0;
    assert_eq!((overall.trials, overall.share), (9, Some(share)));
    same(overall.interval, Share::of(share, 1).interval);
}
