//! Rewards from match-ups: every response to a prompt is compared with every other, in both orders,
//! and its reward is the share that it wins. A labeler that compares well but rates poorly can so
//! reward a policy without a reward model. A response that says nothing loses against all that say something.

use crate::{account, with_judge};
use rlaif_job::{MatchUps, Tokens, WorkResult};
use rlaif_types::{Item, Judgement, Pair, SoftLabel, Unscorable, UnscorableReason};
use rlaif_worker::{Failure, JobResources, Progress};

pub(crate) fn match_ups(
    job: &JobResources,
    work: &MatchUps,
    progress: &dyn Progress,
) -> Result<WorkResult, Failure> {
    let groups = work.items.chunks(work.group_size.max(1));
    let pairs: Vec<Pair> = groups.clone().flat_map(pairs_of).collect();
    with_judge(job, &work.labeler, |judge| {
        let mut used = Tokens::default();
        let labels = account::settle(job, judge, &pairs, &mut used);
        progress.used(used);
        let mut labels = labels?.into_iter();
        let rewards = groups.flat_map(|group| {
            let matches = matches(group.len()).count();
            win_shares(group.len(), &labels.by_ref().take(matches).collect::<Vec<_>>())
        });
        Ok(WorkResult::Rewards(rewards.collect()))
    })
}

/// All match-ups in a group of `count`: each two of them once.
fn matches(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (a + 1..count).map(move |b| (a, b)))
}

fn pairs_of(group: &[Item]) -> Vec<Pair> {
    let pair = |(a, b): (usize, usize)| Pair {
        prompt: group[a].prompt.clone(),
        response_a: group[a].response.clone(),
        response_b: group[b].response.clone(),
    };
    matches(group.len()).map(pair).collect()
}

/// Mean probability of each of `count` responses to win, over those of its match-ups that could be
/// judged; unscorable where none could. `labels` are in the order of [`matches`].
fn win_shares(count: usize, labels: &[Judgement<SoftLabel>]) -> Vec<Judgement<f64>> {
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
    fn shares_are_those_of_a_round_robin_and_sum_to_half_the_responses() {
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
