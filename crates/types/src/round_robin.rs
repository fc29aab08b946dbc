//! A group's match-ups: each member meets every other once, and has the share that it wins.

use crate::{Judgement, SoftLabel, Unscorable, UnscorableReason};

/// All match-ups in a group of `count`.
pub fn matches(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

/// Mean probability of each of `count` members to win, over those of its match-ups that could be
/// judged; unscorable where none could. `labels` are in the order of [`matches`].
pub fn win_shares(count: usize, labels: &[Judgement<SoftLabel>]) -> Vec<Judgement<f64>> {
    let mut won = vec![(0.0, 0_u32); count];
    let mut failed = vec![None; count];
    for ((a, b), label) in matches(count).zip(labels) {
        match label {
            Ok(label) => {
                for (who, share) in [(a, label.value()), (b, 1.0 - label.value())] {
                    won[who].0 += share;
                    won[who].1 += 1;
                }
            }
            Err(why) => [a, b].iter().for_each(|who| failed[*who] = Some(why.clone())),
        }
    }
    let shares = won.into_iter().zip(failed).map(|((sum, judged), why)| match (judged, why) {
        (0, Some(why)) => Err(why),
        (0, None) => {
            Err(Unscorable::new(UnscorableReason::BadItem, "nothing to be matched against"))
        }
        _ => Ok(sum / f64::from(judged)),
    });
    shares.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(p: f64) -> Judgement<SoftLabel> {
        Ok(SoftLabel::new(p).unwrap())
    }

    fn mute() -> Judgement<SoftLabel> {
        Err(Unscorable::new(UnscorableReason::NoVerdict, "mute"))
    }

    #[test]
    fn shares_are_those_of_a_round_robin_and_sum_to_half_the_members() {
        // 0 against 1, 0 against 2, 1 against 2.
        let shares = win_shares(3, &[label(1.0), label(0.75), label(0.25)]);
        assert_eq!(shares, [Ok(0.875), Ok(0.125), Ok(0.5)]);
    }

    #[test]
    fn a_match_up_that_could_not_be_judged_counts_for_neither() {
        assert_eq!(
            win_shares(3, &[mute(), label(0.75), label(0.25)]),
            [Ok(0.75), Ok(0.25), Ok(0.5)]
        );
        let shares = win_shares(3, &[mute(), mute(), label(0.5)]);
        assert!(shares[0].as_ref().unwrap_err().detail == "mute", "{shares:?}");
        assert_eq!(shares[1..], [Ok(0.5), Ok(0.5)]);
    }

    #[test]
    fn who_is_alone_is_not_judged() {
        assert!(win_shares(1, &[])[0].is_err());
    }
}
