//! REINFORCE with a learned value baseline (paper section 3).
//!
//! Policy and value are separate networks; the reference is the frozen starting point. Whether the
//! rewards came from a reward model or straight from the labeler (d-RLAIF, section 4) makes no
//! difference here.

use crate::actor::{Actor, Piece};
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::critic::Critic;
use crate::gradients::GradientSum;
use crate::halt::{Halt, check_finite};
use crate::kl::KlController;
use crate::loss::value_regression;
use crate::metrics::{PolicyMetrics, mean_and_variance};
use crate::returns::token_returns;
use crate::rollouts::{Admission, Rollouts};
use crate::score_function::ScorePass;
use crate::shaping::RewardShaper;
use crate::state::{StateError, TrainerState};
use crate::values::host;
use burn::tensor::Tensor;
use rlaif_models::{CausalLm, ScalarModel};
use rlaif_types::{Episode, ReinforceConfig};

/// Policy, value network and reference in training.
pub struct Reinforce {
    actor: Actor,
    critic: Critic,
    kl: KlController,
    shaper: RewardShaper,
    admission: Admission,
    config: ReinforceConfig,
    step: u64,
}

impl Reinforce {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: ReinforceConfig) -> Self {
        Self {
            actor: Actor::new(setup, config.policy.clone()),
            critic: Critic::new(setup, config.value.clone()),
            // The reward's weight is 1 - beta.
            kl: setup.kl_controller(config.kl(), 1.0),
            shaper: RewardShaper::new(setup.learning.shaping),
            admission: setup.admission(true, config.max_off_policy_steps),
            config,
            step: 0,
        }
    }

    /// The value network, with its own trainable parameters on the tape.
    pub fn value(&self) -> &ScalarModel {
        &self.critic.value
    }

    /// Gradient of the value loss per episode, and what is known of every token. Nothing changes.
    fn baseline(
        &self,
        rollouts: &Rollouts<'_>,
        pieces: &[Piece],
        reference: &[Vec<f32>],
    ) -> Result<Baseline, Halt> {
        let mut baseline = Baseline::default();
        let per_episode = 1.0 / rollouts.episodes.len() as f32;
        let mut loss = 0.0;
        let regression = |values: Tensor<1>, piece: &Piece| {
            // The divergence paid is that of the policy that drew the tokens.
            let returns = piece.members.clone().map(|i| {
                let drawn = &rollouts.episodes[i].logprobs;
                token_returns(rollouts.rewards[i], drawn, &reference[i], self.kl.term)
            });
            let returns: Vec<f32> = returns.flatten().collect();
            let numbers = host(values.clone().inner());
            (value_regression(values, &returns) * per_episode, (numbers, returns))
        };
        baseline.grads =
            self.critic.gradients(pieces, regression, |_, piece_loss, (values, returns)| {
                loss += piece_loss;
                baseline.values.extend(values.into_iter().map(f64::from));
                baseline.returns.extend(returns.into_iter().map(f64::from));
            });
        check_finite("the value network's loss", loss, &self.critic.value)?;
        Ok(baseline)
    }

    /// `Z_t - V(x_t)` of every token, less the batch's mean where that is asked for.
    fn advantages(&self, baseline: &Baseline, rollouts: &Rollouts<'_>) -> Vec<Vec<f32>> {
        let plain: Vec<f64> =
            baseline.returns.iter().zip(&baseline.values).map(|(z, v)| z - v).collect();
        let mean = match self.config.center_advantages {
            true => plain.iter().sum::<f64>() / plain.len() as f64,
            false => 0.0,
        };
        let mut centered = plain.into_iter().map(|advantage| (advantage - mean) as f32);
        let episodes = rollouts.episodes.iter();
        episodes.map(|e| centered.by_ref().take(e.response.len()).collect()).collect()
    }
}

impl PolicyAlgorithm<Episode> for Reinforce {
    /// Rollouts of an older policy are weighted by truncated importance weights; the baseline learns
    /// their returns as they are.
    fn step(&mut self, batch: &[Episode]) -> Result<PolicyMetrics, Halt> {
        let rollouts = Rollouts::admit(batch, &self.admission, &mut self.shaper)?;
        let mut metrics = rollouts.metrics.clone();
        let pieces = self.actor.pieces(&rollouts.responses());
        let reference = self.actor.reference_logprobs(&pieces);
        let kl = rollouts.kl(&reference);
        self.kl.check(kl, metrics.response_tokens)?;
        let baseline = self.baseline(&rollouts, &pieces, &reference)?;

        // From here on the baseline is plain numbers: no policy gradient reaches V.
        let advantages = self.advantages(&baseline, &rollouts);
        let cap = self.config.importance_cap;
        let mut pass = ScorePass::over(
            &self.actor,
            &rollouts,
            &pieces,
            &advantages,
            &reference,
            self.kl.term,
            cap,
        )?;
        pass.report(&mut metrics);
        baseline.report(&mut metrics);
        metrics.kl = Some(kl);
        metrics.beta = self.kl.adapting_beta();

        self.step += 1;
        metrics.value_grad_norm = Some(self.critic.update(baseline.grads)?.grad_norm);
        if self.step > self.config.value_warmup_steps {
            let info = self.actor.update(pass.grads)?;
            (metrics.policy_grad_norm, metrics.lr) = (info.grad_norm, info.lr);
            self.kl.observe(kl);
        } else {
            metrics.policy_grad_norm = pass.grads.global_norm();
        }
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

/// Returns and what the value network made of them, of all tokens in order.
#[derive(Default)]
struct Baseline {
    grads: GradientSum,
    returns: Vec<f64>,
    values: Vec<f64>,
}

impl Baseline {
    fn report(&self, metrics: &mut PolicyMetrics) {
        let (_, returns_variance) = mean_and_variance(&self.returns);
        let errors: Vec<f64> = self.returns.iter().zip(&self.values).map(|(z, v)| z - v).collect();
        let (_, error_variance) = mean_and_variance(&errors);
        let squares = errors.iter().map(|e| e * e).sum::<f64>();
        metrics.value_loss = Some(squares / errors.len() as f64);
        metrics.explained_variance = Some(1.0 - error_variance / returns_variance.max(1e-12));
    }
}
