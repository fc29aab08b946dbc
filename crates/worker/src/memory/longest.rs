//! The longest example of each trainer of a job. It is in memory whole, also where `rl.micro_batch_tokens` are fewer: a
//! sequence is never cut, and the two of a pair are never parted.

use rlaif_job::{DemonstratedBy, Job, RewardModelConfig, SftConfig};
use rlaif_types::AlgorithmKind;

/// Tokens of the longest of what a job is given, about; 0 of what it is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Longest {
    /// Prompt, trained on or held out.
    pub prompt: usize,
    /// Demonstration, with its prompt.
    pub demonstration: usize,
    /// Pair of responses, each with its prompt.
    pub pair: usize,
    /// Pair of responses, with its prompt once.
    pub sharing_pair: usize,
}

/// For a network that takes sequences of at most `context` tokens: what is longer is not drawn, or left out.
impl Longest {
    /// A prompt with the response that is drawn to it.
    pub(super) fn drawn(self, job: &Job, context: usize) -> usize {
        (self.prompt + job.sampling.max_new_tokens).min(context)
    }

    /// What fine-tuning learns.
    pub(super) fn fine_tuning(self, job: &Job, sft: &SftConfig, context: usize) -> usize {
        match sft.by {
            DemonstratedBy::Data => self.demonstration.min(context),
            DemonstratedBy::Labeler => self.drawn(job, context),
        }
    }

    /// A pair that the reward model learns, given or sampled.
    pub(super) fn reward_model(
        self,
        job: &Job,
        reward: &RewardModelConfig,
        context: usize,
    ) -> usize {
        let response = job.sampling.max_new_tokens;
        let (given, sampled) = match reward.share_prompts {
            true => (self.sharing_pair, self.prompt + 2 * response),
            false => (self.pair, 2 * (self.prompt + response)),
        };
        let longest = if reward.samples_pairs() { given.max(sampled) } else { given };
        longest.min(2 * context)
    }

    /// What the policy learns: responses, or pairs of them, whose prompt is computed for each.
    pub(super) fn policy(self, job: &Job, context: usize) -> usize {
        match job.rl.algorithm {
            AlgorithmKind::Dpo => self.pair.min(2 * context),
            AlgorithmKind::OnlineDpo => 2 * self.drawn(job, context),
            AlgorithmKind::Reinforce
            | AlgorithmKind::Rloo
            | AlgorithmKind::Grpo
            | AlgorithmKind::Ppo => self.drawn(job, context),
        }
    }

    /// The longest of all trainers.
    pub(super) fn of_all(self, job: &Job, context: usize) -> usize {
        let tuned = job.sft.as_ref().map(|sft| self.fine_tuning(job, sft, context));
        let rewarded = job.reward_model.as_ref().map(|rm| self.reward_model(job, rm, context));
        let trained = [tuned, rewarded].into_iter().flatten().max().unwrap_or(0);
        trained.max(self.policy(job, context))
    }
}
