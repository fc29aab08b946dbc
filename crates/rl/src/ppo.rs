//! PPO: clipped ratios, generalised advantages of a value network, several epochs of minibatches
//! over one batch (Schulman et al. 2017, arXiv 1707.06347), and token-level rewards for the
//! divergence (Ziegler et al. 2019).

use crate::actor::{Actor, Piece};
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::clipped::{Frozen, Surrogate, Updates, gather, token_weights};
use crate::critic::Critic;
use crate::halt::{Halt, check_finite};
use crate::kl::KlController;
use crate::loss::clipped_value_regression;
use crate::metrics::{PolicyMetrics, mean_and_variance};
use crate::minibatch::Schedule;
use crate::returns::generalised_advantages;
use crate::rollouts::{Admission, Rollouts};
use crate::shaping::RewardShaper;
use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::CausalLm;
use rlaif_types::{Aggregation, Episode, PpoConfig};

/// Advantages that differ by less are all alike.
const SMALLEST_DEVIATION: f64 = 1e-8;

/// Policy, value network and reference in training.
pub struct Ppo {
    actor: Actor,
    critic: Critic,
    kl: KlController,
    shaper: RewardShaper,
    admission: Admission,
    schedule: Schedule,
    config: PpoConfig,
    step: u64,
}

impl Ppo {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: PpoConfig) -> Self {
        Self {
            actor: Actor::new(setup, config.policy.clone()),
            critic: Critic::new(setup, config.value.clone()),
            kl: setup.kl_controller(config.kl(), f64::INFINITY),
            shaper: RewardShaper::new(setup.learning.shaping),
            admission: setup.admission(true, config.max_off_policy_steps),
            schedule: setup.schedule(config.epochs, config.minibatches),
            config,
            step: 0,
        }
    }

    /// What the batch's tokens are worth, before anything moves.
    fn evaluate(&self, rollouts: &Rollouts<'_>, reference: &[Vec<f32>], pieces: &[Piece]) -> Worth {
        let mut worth = Worth { values: self.critic.values_of(pieces), ..Worth::default() };
        let mut plain = Vec::new();
        for (i, episode) in rollouts.episodes.iter().enumerate() {
            // Each token pays for its divergence; the last one gets the reward.
            let kl = self.kl.term;
            let tokens = episode.logprobs.iter().zip(&reference[i]);
            let mut rewards: Vec<f64> =
                tokens.map(|(pi, r)| -kl.beta * kl.estimator.value(*pi, *r)).collect();
            *rewards.last_mut().expect("no admitted response is empty") += rollouts.rewards[i];
            let values = &worth.values[i];
            let (advantages, returns) =
                generalised_advantages(&rewards, values, self.config.gae_lambda);
            plain.push(advantages);
            worth.returns.push(returns);
        }
        let (mean, scale) = match self.config.whiten_advantages {
            true => {
                let (mean, variance) = mean_and_variance(&plain.concat());
                let deviation = variance.sqrt();
                (mean, if deviation < SMALLEST_DEVIATION { 1.0 } else { deviation })
            }
            false => (0.0, 1.0),
        };
        let whiten =
            |a: Vec<f64>| -> Vec<f32> { a.iter().map(|a| ((a - mean) / scale) as f32).collect() };
        worth.advantages = plain.into_iter().map(whiten).collect();
        worth
    }

    /// One update of the value network on some of the episodes; the norm of its gradient.
    fn update_value(
        &mut self,
        rollouts: &Rollouts<'_>,
        worth: &Worth,
        members: &[usize],
    ) -> Result<f64, Halt> {
        let all = rollouts.responses();
        let responses: Vec<_> = members.iter().map(|i| all[*i]).collect();
        let weights = token_weights(responses.iter().map(|(_, r)| r.len()), Aggregation::Token);
        let clip = self.config.value_clip.map(|clip| clip as f32);
        let regression = |values: Tensor<1>, piece: &Piece| {
            let episodes = &members[piece.members.clone()];
            let weights = weights[piece.members.clone()].concat();
            let returns = gather(episodes, |i| &worth.returns[i]);
            let before = gather(episodes, |i| &worth.values[i]);
            (clipped_value_regression(values, &returns, &before, &weights, clip), ())
        };
        let (pieces, mut loss_sum) = (self.actor.pieces(&responses), 0.0);
        let grads = self.critic.gradients(&pieces, regression, |_, loss, ()| loss_sum += loss);
        check_finite("the value network's loss", loss_sum, &self.critic.value)?;
        Ok(self.critic.update(grads)?.grad_norm)
    }
}

impl PolicyAlgorithm<Episode> for Ppo {
    fn step(&mut self, batch: &[Episode]) -> Result<PolicyMetrics, Halt> {
        let rollouts = Rollouts::admit(batch, &self.admission, &mut self.shaper)?;
        let mut metrics = rollouts.metrics.clone();
        let pieces = self.actor.pieces(&rollouts.responses());
        let reference = self.actor.reference_logprobs(&pieces);
        let kl = rollouts.kl(&reference);
        self.kl.check(kl, metrics.response_tokens)?;
        let worth = self.evaluate(&rollouts, &reference, &pieces);
        let frozen =
            Frozen { rollouts: &rollouts, advantages: &worth.advantages, reference: &reference };
        let clip = self.config.clip as f32;
        let surrogate =
            Surrogate { clip: (clip, clip), aggregation: Aggregation::Token, kl: self.kl.term };
        let mut updates = Updates::default();
        let schedule = self.schedule.updates(rollouts.episodes.len(), self.step);
        let in_an_epoch = schedule.len() / self.config.epochs;
        for (i, members) in schedule.iter().enumerate() {
            updates.make(&mut self.actor, &frozen, members, surrogate, i < in_an_epoch)?;
            metrics.value_grad_norm = Some(self.update_value(&rollouts, &worth, members)?);
        }
        updates.report(&mut metrics);
        worth.report(&mut metrics);
        metrics.kl = Some(kl);
        metrics.beta = self.kl.adapting_beta();
        self.step += 1;
        self.kl.observe(kl);
        Ok(metrics)
    }

    fn policy(&self) -> &CausalLm {
        &self.actor.policy
    }

    fn trained(&self) -> &CausalLm {
        self.actor.trained()
    }

    fn save(&self) -> TrainerState {
        let mut state = TrainerState::default();
        state.put_number("step", self.step);
        self.actor.save(&mut state);
        self.critic.save(&mut state);
        self.kl.save(&mut state);
        self.shaper.save(&mut state);
        state
    }

    fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        self.step = state.number("step")?;
        self.actor.load(state)?;
        self.critic.load(state)?;
        self.kl.load(state)?;
        self.shaper.load(state)
    }
}

/// What a batch's tokens are worth; by episode and token.
#[derive(Default)]
struct Worth {
    values: Vec<Vec<f32>>,
    returns: Vec<Vec<f32>>,
    advantages: Vec<Vec<f32>>,
}

impl Worth {
    fn report(&self, metrics: &mut PolicyMetrics) {
        let wide = |numbers: &[Vec<f32>]| numbers.concat().into_iter().map(f64::from);
        let returns: Vec<f64> = wide(&self.returns).collect();
        let errors: Vec<f64> = wide(&self.values).zip(&returns).map(|(v, z)| z - v).collect();
        let (_, returns_variance) = mean_and_variance(&returns);
        let (_, error_variance) = mean_and_variance(&errors);
        let squares = errors.iter().map(|e| e * e).sum::<f64>();
        metrics.value_loss = Some(squares / errors.len() as f64);
        metrics.explained_variance = Some(1.0 - error_variance / returns_variance.max(1e-12));
    }
}
