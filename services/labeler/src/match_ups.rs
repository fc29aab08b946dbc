//! Rewards from match-ups: every response to a prompt is compared with every other, in both orders,
//! and its reward is the share that it wins. A labeler that compares well but rates poorly can so
//! reward a policy without a reward model. A response that says nothing loses against all that say something.

use crate::{account, with_judge};
use rlaif_job::{MatchUps, Tokens, WorkResult};
use rlaif_types::round_robin::{matches, win_shares};
use rlaif_types::{Item, Pair};
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

fn pairs_of(group: &[Item]) -> Vec<Pair> {
    let pair = |(a, b): (usize, usize)| Pair {
        prompt: group[a].prompt.clone(),
        response_a: group[a].response.clone(),
        response_b: group[b].response.clone(),
    };
    matches(group.len()).map(pair).collect()
}
