//! The score-function gradient that REINFORCE and RLOO share: `-log pi · advantage` of every token,
//! with the divergence in the loss where it is not in the rewards, and importance weights for tokens
//! that an older policy drew.

use crate::actor::{Actor, Piece};
use crate::drawn::Drawn;
use crate::gradients::GradientSum;
use crate::halt::{Halt, check_finite};
use crate::loss::{importance_weights, kl_penalty, policy_gradient};
use crate::metrics::PolicyMetrics;
use crate::rollouts::Rollouts;
use crate::values::host;
use rlaif_models::CausalLm;
use rlaif_types::{Episode, KlPlacement, KlTerm};

/// What one pass over a batch's policy saw.
#[derive(Default)]
pub(crate) struct ScorePass {
    /// The loss's, per episode.
    pub(crate) grads: GradientSum,
    loss: f64,
    truncated: usize,
    drawn: Drawn,
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
        let per_episode = 1.0 / rollouts.episodes.len() as f32;
        let surrogate = |policy: &CausalLm, Piece { members, packed }: &Piece| {
            let logprobs = actor.logprobs(policy, packed);
            let now = packed.split(&host(logprobs.clone().inner()));
            let weights = weights(&rollouts.episodes[members.clone()], &now, importance_cap);
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
            };
            (loss * per_episode, (now, weights))
        };
        let mut pass = Self::default();
        let grads = actor.gradients(pieces, surrogate, |piece, loss, (now, weights)| {
            pass.loss += loss;
            pass.see(&rollouts.episodes[piece.members.clone()], &now, &weights, importance_cap);
        });
        pass.grads = grads;
        check_finite("the policy's loss", pass.loss, &actor.policy)?;
        Ok(pass)
    }

    /// Counts tokens, and those whose weight was truncated.
    fn see(&mut self, episodes: &[&Episode], now: &[Vec<f32>], weights: &[f32], cap: f32) {
        let mut first = 0;
        for (episode, now) in episodes.iter().zip(now) {
            let weights = &weights[first..first + now.len()];
            first += now.len();
            self.drawn.see(episode, now);
            if episode.off_policy_steps > 0 {
                self.truncated += weights.iter().filter(|w| **w >= cap).count();
            }
        }
    }

    /// Adds what was seen.
    pub(crate) fn report(&self, metrics: &mut PolicyMetrics) {
        metrics.policy_loss = self.loss;
        metrics.truncated = Some(self.truncated as f64 / self.drawn.tokens() as f64);
        self.drawn.report(metrics);
    }
}

/// The weight of every token: 1 where the policy itself drew it.
fn weights(episodes: &[&Episode], now: &[Vec<f32>], cap: f32) -> Vec<f32> {
    let mut weights = Vec::new();
    for (episode, now) in episodes.iter().zip(now) {
        match episode.off_policy_steps {
            0 => weights.resize(weights.len() + now.len(), 1.0),
            _ => weights.extend(importance_weights(now, &episode.logprobs, cap)),
        }
    }
    weights
}
