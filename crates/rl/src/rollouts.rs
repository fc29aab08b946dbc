//! The rollouts of a step that are fit to learn from, in their groups.

use crate::actor::Response;
use crate::groups::all_equal;
use crate::halt::Halt;
use crate::metrics::{PolicyMetrics, mean_and_variance};
use crate::shaping::RewardShaper;
use rlaif_types::Episode;
use std::ops::Range;

/// What rollouts must be to be learned from.
pub(crate) struct Admission {
    /// Responses to a prompt, which follow each other.
    pub(crate) group_size: usize,
    /// Whether an episode that is alone in its group teaches anything.
    pub(crate) alone_counts: bool,
    pub(crate) max_off_policy_steps: usize,
    /// Tokens that the policy can see.
    pub(crate) context_length: usize,
}

/// Rollouts that are learned from.
pub(crate) struct Rollouts<'a> {
    pub(crate) episodes: Vec<&'a Episode>,
    /// What they are learned from with: the rewards after shaping.
    pub(crate) rewards: Vec<f64>,
    /// Members of each group, which follow each other; none is empty.
    pub(crate) groups: Vec<Range<usize>>,
    /// Counts and means of them.
    pub(crate) metrics: PolicyMetrics,
}

impl<'a> Rollouts<'a> {
    /// Leaves out what is too old, empty, too long for the policy or could not be judged. Places in
    /// `batch` make groups, so that a missing member leaves a smaller group.
    ///
    /// # Errors
    /// When nothing is left.
    pub(crate) fn admit(
        batch: &'a [Episode],
        admission: &Admission,
        shaper: &mut RewardShaper,
    ) -> Result<Self, Halt> {
        let (mut episodes, mut raw, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let (mut too_old, mut unscorable, mut alone) = (0, 0, 0);
        for group in batch.chunks(admission.group_size) {
            let first = episodes.len();
            for episode in group {
                match &episode.reward {
                    _ if episode.off_policy_steps > admission.max_off_policy_steps => too_old += 1,
                    Ok(reward) if reward.is_finite() && readable(episode, admission) => {
                        episodes.push(episode);
                        raw.push(*reward);
                    }
                    _ => unscorable += 1,
                }
            }
            if episodes.len() == first + 1 && !admission.alone_counts {
                alone += 1;
                episodes.pop();
                raw.pop();
            }
            if episodes.len() > first {
                groups.push(first..episodes.len());
            }
        }
        if episodes.is_empty() {
            return Err(Halt::NothingToLearn(nothing_left(batch, alone)));
        }
        let tokens: Vec<usize> = episodes.iter().map(|e| e.response.len()).collect();
        let rewards = shaper.shape(&raw, &tokens);
        let count = episodes.len() as f64;
        let (reward, variance) = mean_and_variance(&raw);
        let metrics = PolicyMetrics {
            episodes: episodes.len(),
            unscorable,
            too_old,
            alone: (!admission.alone_counts).then_some(alone),
            off_policy_steps: episodes.iter().map(|e| e.off_policy_steps as f64).sum::<f64>()
                / count,
            reward: Some(reward),
            reward_std: Some(variance.sqrt()),
            shaped_reward: (!shaper.is_plain()).then(|| mean_and_variance(&rewards).0),
            response_tokens: tokens.iter().sum::<usize>() as f64 / count,
            ..PolicyMetrics::default()
        };
        Ok(Self { episodes, rewards, groups, metrics })
    }

    /// Prompts and responses, in tokens.
    pub(crate) fn responses(&self) -> Vec<Response<'a>> {
        self.episodes.iter().map(|e| (&e.prompt[..], &e.response[..])).collect()
    }

    /// Mean over episodes of `log pi_drawn - log reference` of the whole response.
    pub(crate) fn kl(&self, reference: &[Vec<f32>]) -> f64 {
        let mut kl = 0.0;
        for (episode, reference) in self.episodes.iter().zip(reference) {
            let ratios = episode.logprobs.iter().zip(reference);
            kl += ratios.map(|(pi, reference)| f64::from(pi - reference)).sum::<f64>();
        }
        kl / self.episodes.len() as f64
    }

    /// Share of the groups whose rewards are all equal.
    pub(crate) fn equal_groups(&self) -> f64 {
        let equal = self.groups.iter().filter(|group| all_equal(&self.rewards[(*group).clone()]));
        equal.count() as f64 / self.groups.len() as f64
    }
}

fn readable(episode: &Episode, admission: &Admission) -> bool {
    let tokens = episode.prompt.len() + episode.response.len();
    !episode.prompt.is_empty()
        && !episode.response.is_empty()
        && episode.logprobs.len() == episode.response.len()
        && tokens <= admission.context_length
}

fn nothing_left(batch: &[Episode], alone: usize) -> String {
    let why = batch.iter().find_map(|e| e.reward.as_ref().err()).map(ToString::to_string);
    if alone > 0 {
        let why = why.map_or_else(String::new, |why| format!("; the first that was not: {why}"));
        return format!("not one group has two rollouts that could be judged{why}");
    }
    let why = why.unwrap_or_else(|| "an empty response, a too long one, or too old".into());
    format!("not one rollout is fit to learn from; the first: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::{RewardShaping, Unscorable, UnscorableReason};

    fn episode(reward: Option<f64>) -> Episode {
        Episode {
            prompt: vec![1],
            response: vec![2, 3],
            logprobs: vec![-1.0, -1.0],
            reward: reward.ok_or_else(|| Unscorable::new(UnscorableReason::NoVerdict, "mute")),
            off_policy_steps: 0,
        }
    }

    fn admit(
        batch: &[Episode],
        group_size: usize,
        alone_counts: bool,
    ) -> Result<Rollouts<'_>, Halt> {
        let admission =
            Admission { group_size, alone_counts, max_off_policy_steps: 0, context_length: 4 };
        Rollouts::admit(batch, &admission, &mut RewardShaper::new(RewardShaping::default()))
    }

    #[test]
    fn a_group_loses_those_that_could_not_be_judged_and_the_last_one_alone() {
        let rewards =
            [Some(1.0), None, Some(3.0), None, Some(5.0), None, Some(7.0), Some(8.0), None];
        let batch: Vec<Episode> = rewards.into_iter().map(episode).collect();
        let rollouts = admit(&batch, 3, false).unwrap();
        assert_eq!(rollouts.rewards, [1.0, 3.0, 7.0, 8.0]);
        assert_eq!(rollouts.groups, [0..2, 2..4]);
        let metrics = rollouts.metrics;
        assert_eq!((metrics.episodes, metrics.unscorable, metrics.alone), (4, 4, Some(1)));
        assert_eq!(admit(&batch, 3, true).unwrap().groups, [0..2, 2..3, 3..5]);
    }

    #[test]
    fn empty_too_long_and_old_responses_take_no_part() {
        let empty = Episode { response: vec![], logprobs: vec![], ..episode(Some(1.0)) };
        let long = Episode { response: vec![1; 4], logprobs: vec![-1.0; 4], ..episode(Some(1.0)) };
        let old = Episode { off_policy_steps: 1, ..episode(Some(1.0)) };
        let strange = episode(Some(f64::NAN));
        let batch = [empty, long, old, strange, episode(Some(2.0))];
        let rollouts = admit(&batch, 1, true).unwrap();
        assert_eq!(rollouts.rewards, [2.0]);
        assert_eq!((rollouts.metrics.unscorable, rollouts.metrics.too_old), (3, 1));
        let why = admit(&batch[..3], 1, true).err().unwrap();
        assert!(why.to_string().contains("an empty response"), "{why}");
    }

    #[test]
    fn a_batch_of_single_survivors_says_why() {
        let batch = [episode(Some(1.0)), episode(None)];
        let why = admit(&batch, 2, false).err().unwrap().to_string();
        assert!(why.contains("not one group has two") && why.contains("mute"), "{why}");
    }
}
