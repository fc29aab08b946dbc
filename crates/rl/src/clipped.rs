//! The update that PPO and GRPO share: the clipped surrogate on a part of a batch, with the
//! divergence in the loss where it has a weight there.

use crate::actor::{Actor, Piece};
use crate::halt::{Halt, check_finite};
use crate::loss::{clipped_surrogate, kl_penalty};
use crate::metrics::PolicyMetrics;
use crate::optimizer::StepInfo;
use crate::rollouts::Rollouts;
use crate::values::host;
use rlaif_models::CausalLm;
use rlaif_types::{Aggregation, KlEstimator, KlPlacement, KlTerm};

/// What is known of a batch's tokens while the policy moves; by episode and token.
pub(crate) struct Frozen<'a> {
    pub(crate) rollouts: &'a Rollouts<'a>,
    pub(crate) advantages: &'a [Vec<f32>],
    pub(crate) reference: &'a [Vec<f32>],
}

/// How the surrogate is formed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surrogate {
    /// Ratios count within `1 - clip.0` and `1 + clip.1`.
    pub(crate) clip: (f32, f32),
    pub(crate) aggregation: Aggregation,
    pub(crate) kl: KlTerm,
}

/// Log-probabilities of tokens now and when they were drawn, and their advantages.
type Seen = (Vec<f32>, Vec<f32>, Vec<f32>);

/// Sums over the updates of one step.
#[derive(Default)]
pub(crate) struct Updates {
    count: usize,
    loss: f64,
    tokens: usize,
    clipped: usize,
    divergence: f64,
    /// Of the first update of all tokens: `-log pi`.
    surprise: f64,
    seen: usize,
    mismatch: f64,
    last: Option<StepInfo>,
}

impl Updates {
    /// One update on some of the episodes.
    pub(crate) fn make(
        &mut self,
        actor: &mut Actor,
        frozen: &Frozen<'_>,
        members: &[usize],
        how: Surrogate,
        first_epoch: bool,
    ) -> Result<(), Halt> {
        let all = frozen.rollouts.responses();
        let responses: Vec<_> = members.iter().map(|i| all[*i]).collect();
        let weights = token_weights(responses.iter().map(|(_, r)| r.len()), how.aggregation);
        let surrogate = |policy: &CausalLm, piece: &Piece| {
            let episodes = &members[piece.members.clone()];
            let weights = weights[piece.members.clone()].concat();
            let drawn = gather(episodes, |i| &frozen.rollouts.episodes[i].logprobs);
            let advantages = gather(episodes, |i| &frozen.advantages[i]);
            let logprobs = actor.logprobs(policy, &piece.packed);
            let now = host(logprobs.clone().inner());
            let surrogate =
                clipped_surrogate(logprobs.clone(), &drawn, &advantages, &weights, how.clip);
            let loss = match how.kl.placement {
                KlPlacement::Reward => surrogate,
                KlPlacement::Loss => {
                    let reference = gather(episodes, |i| &frozen.reference[i]);
                    let term = kl_penalty(logprobs, &reference, &weights, how.kl.estimator);
                    surrogate + term * how.kl.beta as f32
                }
            };
            (loss, (now, drawn, advantages))
        };
        let (pieces, mut loss_sum) = (actor.pieces(&responses), 0.0);
        let took = |piece: &Piece, loss: f64, (now, drawn, advantages): Seen| {
            loss_sum += loss;
            self.measure(&now, &drawn, &advantages, how.clip);
            if first_epoch {
                let episodes = members[piece.members.clone()].iter();
                let on_policy = episodes
                    .map(|i| &frozen.rollouts.episodes[*i])
                    .all(|e| e.off_policy_steps == 0);
                self.compare(&now, &drawn, on_policy);
            }
        };
        let grads = actor.gradients(&pieces, surrogate, took);
        check_finite("the policy's loss", loss_sum, &actor.policy)?;
        self.last = Some(actor.update(grads)?);
        self.loss += loss_sum;
        self.count += 1;
        Ok(())
    }

    /// Counts clipped tokens, and how far the policy is from the one that drew.
    fn measure(&mut self, now: &[f32], drawn: &[f32], advantages: &[f32], (low, high): (f32, f32)) {
        for ((now, drawn), advantage) in now.iter().zip(drawn).zip(advantages) {
            let ratio = (now - drawn).exp();
            let up = *advantage > 0.0 && ratio > 1.0 + high;
            let down = *advantage < 0.0 && ratio < 1.0 - low;
            self.clipped += usize::from(up || down);
            self.divergence += KlEstimator::K3.value(*drawn, *now).min(f64::MAX);
        }
        self.tokens += now.len();
    }

    /// Compares the learner's log-probabilities with the rollout's, and estimates the entropy.
    fn compare(&mut self, now: &[f32], drawn: &[f32], on_policy: bool) {
        self.seen += now.len();
        self.surprise -= now.iter().map(|logprob| f64::from(*logprob)).sum::<f64>();
        if on_policy && self.count == 0 {
            let differences = now.iter().zip(drawn).map(|(a, b)| f64::from((a - b).abs()));
            self.mismatch = differences.fold(self.mismatch, f64::max);
        }
    }

    /// Adds what was seen.
    pub(crate) fn report(&self, metrics: &mut PolicyMetrics) {
        metrics.policy_loss = self.loss / self.count as f64;
        metrics.clip_share = Some(self.clipped as f64 / self.tokens as f64);
        metrics.approx_kl = Some(self.divergence / self.tokens as f64);
        metrics.entropy = Some(self.surprise / self.seen as f64);
        metrics.logprob_mismatch = Some(self.mismatch);
        if let Some(info) = self.last {
            (metrics.policy_grad_norm, metrics.lr) = (info.grad_norm, info.lr);
        }
    }
}

/// Weights of all tokens of responses of these lengths; they sum to 1.
pub(crate) fn token_weights(
    lengths: impl Iterator<Item = usize> + Clone,
    aggregation: Aggregation,
) -> Vec<Vec<f32>> {
    let (responses, tokens) = (lengths.clone().count(), lengths.clone().sum::<usize>());
    let weight = |length: usize| match aggregation {
        Aggregation::Sequence => 1.0 / (responses * length) as f32,
        Aggregation::Token => 1.0 / tokens as f32,
    };
    lengths.map(|length| vec![weight(length); length]).collect()
}

/// Numbers of some episodes' tokens, one after the other.
pub(crate) fn gather<'a>(episodes: &[usize], of: impl Fn(usize) -> &'a [f32]) -> Vec<f32> {
    episodes.iter().flat_map(|i| of(*i)).copied().collect()
}
