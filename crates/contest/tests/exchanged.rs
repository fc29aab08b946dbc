//! Which arm is named first, and which other arms there are, is nobody's business.

use proptest::prelude::*;
use rlaif_contest::{Contest, HeadToHead, Matrix, Options, Verdict};
use rlaif_stats::Interval;

const ARMS: [&str; 4] = ["rlaif", "sft", "people", "best of 4"];
const OPTIONS: Options = Options { seed: 7, tie_band: 0.0 };

/// Sixteenths, as exact as labels on their grid, so that ties and certainty occur.
fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
    let verdict = (0..=16_u8, 0..=16_u8).prop_map(|(first, second)| {
        let [first, second] = [first, second].map(|sixteenths| f64::from(sixteenths) / 16.0);
        let preference = f64::midpoint(first, 1.0 - second);
        Verdict { preference, orders: Some([first, second]) }
    });
    prop_oneof![9 => verdict.prop_map(Some), 1 => Just(None)]
}

fn any_contest() -> impl Strategy<Value = Contest> {
    let pair = (0..ARMS.len(), 1..ARMS.len())
        .prop_map(|(first, step)| [first, (first + step) % ARMS.len()].map(|arm| ARMS[arm]));
    (0..12_usize, pair, (0..400_usize, 0..400_usize), any_verdict()).prop_map(
        |(prompt, [first, second], lengths, verdict)| Contest {
            prompt,
            first: first.to_owned(),
            second: second.to_owned(),
            lengths: lengths.into(),
            verdict,
        },
    )
}

fn any_contests() -> impl Strategy<Value = Vec<Contest>> {
    proptest::collection::vec(any_contest(), 0..60)
}

fn matrix(arms: &[&str], contests: &[Contest]) -> Matrix {
    let arms: Vec<String> = arms.iter().map(|arm| (*arm).to_owned()).collect();
    Matrix::of(&arms, contests, OPTIONS)
}

fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = |first| ARMS.into_iter().filter(move |second| *second != first);
    ARMS.into_iter().flat_map(move |first| others(first).map(move |second| (first, second)))
}

/// 1 minus every rate.
fn assert_mirrored(there: &HeadToHead, back: &HeadToHead) {
    assert_eq!((there.wins, there.losses, there.ties), (back.losses, back.wins, back.ties));
    assert_eq!((there.judged, there.unscorable), (back.judged, back.unscorable));
    assert_eq!(there.p_value, back.p_value);
    let complement = |interval: Interval| [1.0 - interval.high, 1.0 - interval.low];
    let ends = |interval: Interval| [interval.low, interval.high];
    let (Some(a), Some(b)) = (there.win_rate, back.win_rate) else {
        return assert_eq!(there.win_rate, back.win_rate);
    };
    // One of the two was made as 1 minus the other, which may round once.
    assert!((a.value + b.value - 1.0).abs() < 1e-15);
    let (a, b) = (a.interval.map(ends), b.interval.map(complement));
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        assert!((a - b).abs() < 1e-15);
    }
    assert_eq!(a.is_some(), b.is_some());
}

proptest! {
    #[test]
    fn exchanging_arms_mirrors_the_matrix_to_the_bit(contests in any_contests()) {
        let straight = matrix(&ARMS, &contests);
        let reversed = ARMS.into_iter().rev().collect::<Vec<_>>();
        let exchanged: Vec<Contest> = contests.iter().cloned().map(Contest::exchanged).collect();
        let back = matrix(&reversed, &exchanged);
        for (first, second) in pairs() {
            prop_assert_eq!(straight.get(first, second), back.get(first, second));
            if let Some(there) = straight.get(first, second) {
                assert_mirrored(&there, &back.get(second, first).unwrap());
            }
        }
    }

    #[test]
    fn what_arms_are_called_changes_no_number(contests in any_contests()) {
        // The order of names is reversed, so every pair is computed from its other side.
        let renamed = |arm: &str| {
            let place = ARMS.into_iter().filter(|other| *other > arm).count();
            ["first", "second", "third", "zeroth"][place].to_owned()
        };
        let other = |contest: &Contest| Contest {
            first: renamed(&contest.first),
            second: renamed(&contest.second),
            ..contest.clone()
        };
        let before = matrix(&ARMS, &contests);
        let names = ARMS.map(renamed);
        let after = Matrix::of(&names, &contests.iter().map(other).collect::<Vec<_>>(), OPTIONS);
        for (first, second) in pairs() {
            let [there, here] = [before.get(first, second), after.get(&renamed(first), &renamed(second))];
            prop_assert_eq!(there.is_some(), here.is_some());
            let (Some(there), Some(here)) = (there, here) else { continue };
            prop_assert_eq!((there.wins, there.losses, there.ties), (here.wins, here.losses, here.ties));
            let numbers = |pair: &HeadToHead| {
                let resampled = pair.win_rate.and_then(|rate| rate.interval);
                let corrected = [
                    pair.length_corrected,
                    pair.length_corrected_by_ratio,
                    pair.second_length_corrected_by_ratio,
                    pair.length_controlled,
                ];
                let corrected = corrected.into_iter().flatten();
                let corrected = corrected.flat_map(|c| [c.win_rate, c.interval.low, c.interval.high]);
                let resampled = resampled.into_iter().flat_map(|interval| [interval.low, interval.high]);
                resampled.chain(corrected).collect::<Vec<f64>>()
            };
            let (there, here) = (numbers(&there), numbers(&here));
            prop_assert_eq!(there.len(), here.len());
            for (there, here) in there.iter().zip(&here) {
                // Newton's steps end within 1e-10 of the optimum; separated outcomes leave it flat.
                prop_assert!((there - here).abs() < 1e-6, "{} is not {}", there, here);
            }
        }
    }

    #[test]
    fn another_arm_changes_no_other_pair(contests in any_contests()) {
        let all = matrix(&ARMS, &contests);
        let known = &ARMS[..3];
        let of_known = |contest: &&Contest| {
            known.contains(&contest.first.as_str()) && known.contains(&contest.second.as_str())
        };
        let fewer: Vec<Contest> = contests.iter().filter(of_known).cloned().collect();
        let fewer = matrix(known, &fewer);
        for (first, second) in pairs() {
            if known.contains(&first) && known.contains(&second) {
                prop_assert_eq!(all.get(first, second), fewer.get(first, second));
            }
        }
    }

    #[test]
    fn every_contest_is_counted_once(contests in any_contests()) {
        let matrix = matrix(&ARMS, &contests);
        let counted = |pair: &HeadToHead| pair.wins + pair.losses + pair.ties + pair.unscorable;
        let total: usize = matrix.head_to_heads.iter().map(counted).sum();
        prop_assert_eq!(total, contests.len());
    }
}
