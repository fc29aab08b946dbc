//! The score-function gradient that REINFORCE and RLOO share: `-log pi · advantage` of every token,
//! with the divergence in the loss where it is not in the rewards, and importance weights for tokens
//! that an older policy drew.

use crate::actor::{Actor, Piece};
use crate::gradients::GradientSum;
use crate::halt::{Halt, check_finite};
use crate::loss::{importance_weights, kl_penalty, policy_gradient};
use crate::metrics::PolicyMetrics;
use crate::rollouts::Rollouts;
use crate::values::host;
use rlaif_types::{Episode, KlPlacement, KlTerm};

/// What one pass over a batch's policy saw.
#[derive(Default)]
pub(crate) struct ScorePass {
    /// The loss's, per episode.
    pub(crate) grads: GradientSum,
    loss: f64,
    mismatch: f64,
    truncated: usize,
    tokens: usize,
    logprobs: f64,
}

impl ScorePass {
    /// Sums over all pieces; nothing changes. `advantages` and `reference` are by episode and token.
    pub(crate) fn over(
        actor: &Actor,
        rollouts: &Rollouts<'_>,
        pieces: &[Piece],
        advantages: &[Vec<f32>],
        reference: &[Vec<f32>],
        kl: KlTerm,
        importance_cap: f32,
    ) -> Result<Self, Halt> {
        let mut pass = Self::default();
        let per_episode = 1.0 / rollouts.episodes.len() as f32;
        for Piece { members, packed } in pieces {
            let logprobs = actor.logprobs(packed);
            let now = packed.split(&host(logprobs.clone().inner()));
            let weights = pass.weights(&rollouts.episodes[members.clone()], &now, importance_cap);
            let advantages = advantages[members.clone()].concat();
            let weighted: Vec<f32> = advantages.iter().zip(&weights).map(|(a, w)| a * w).collect();
            let reward_weighted = policy_gradient(logprobs.clone(), &weighted);
            let loss = match kl.placement {
                KlPlacement::Reward => reward_weighted,
                KlPlacement::Loss => {
                    let reference = reference[members.clone()].concat();
                    let term = kl_penalty(logprobs, &reference, &weights, kl.estimator);
                    reward_weighted + term * kl.beta as f32
                }
            } * per_episode;
            pass.loss += f64::from(loss.clone().into_scalar::<f32>());
            pass.grads.add(&actor.policy, &loss.backward());
        }
        check_finite("the policy's loss", pass.loss, &actor.policy)?;
        Ok(pass)
    }

    /// The weight of every token: 1 where the policy itself drew it.
    fn weights(&mut self, episodes: &[&Episode], now: &[Vec<f32>], cap: f32) -> Vec<f32> {
        let mut weights = Vec::new();
        for (episode, now) in episodes.iter().zip(now) {
            self.tokens += now.len();
            self.logprobs += now.iter().map(|logprob| f64::from(*logprob)).sum::<f64>();
            if episode.off_policy_steps > 0 {
                let first = weights.len();
                weights.extend(importance_weights(now, &episode.logprobs, cap));
                self.truncated += weights[first..].iter().filter(|w| **w >= cap).count();
                continue;
            }
            for (learner, rollout) in now.iter().zip(&episode.logprobs) {
                self.mismatch = self.mismatch.max(f64::from((learner - rollout).abs()));
            }
            weights.resize(weights.len() + now.len(), 1.0);
        }
        weights
    }

    /// Adds what was seen.
    pub(crate) fn report(&self, metrics: &mut PolicyMetrics) {
        metrics.policy_loss = self.loss;
        metrics.truncated = Some(self.truncated as f64 / self.tokens as f64);
        metrics.entropy = Some(-self.logprobs / self.tokens as f64);
        metrics.logprob_mismatch = Some(self.mismatch);
    }
}
