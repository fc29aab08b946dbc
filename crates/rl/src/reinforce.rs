//! REINFORCE with a learned value baseline (paper section 3).
//!
//! Policy and value are separate networks; the reference is the frozen starting point. Whether the
//! rewards came from a reward model or straight from the labeler (d-RLAIF, section 4) makes no
//! difference here.

use crate::gradients::GradientSum;
use crate::loss::{importance_weights, kl_penalty, policy_gradient, value_regression};
use crate::micro_batch::micro_batches;
use crate::optimizer::Optimizer;
use crate::response_batch::ResponseBatch;
use crate::returns::token_returns;
use crate::state::{StateError, TrainerState};
use burn::tensor::Tensor;
use rlaif_models::{CausalLm, ScalarModel};
use rlaif_types::{Episode, KlPlacement, ReinforceConfig};
use serde::{Deserialize, Serialize};

/// What one step measured, before it changed anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReinforceMetrics {
    /// Episodes that took part.
    pub episodes: usize,
    /// Episodes left out because they could not be judged.
    pub unscorable: usize,
    /// Episodes left out because their policy was more than `max_off_policy_steps` behind.
    pub too_old: usize,
    /// Mean steps that the policy is ahead of the one that drew.
    pub off_policy_steps: f64,
    /// Share of the tokens whose importance weight was truncated.
    pub truncated: f64,
    /// Mean reward.
    pub reward: f64,
    /// Standard deviation of the reward.
    pub reward_std: f64,
    /// Mean over episodes of `log pi - log reference` of the whole response.
    pub kl: f64,
    /// Policy loss per episode.
    pub policy_loss: f64,
    /// Mean squared error of the value, per token.
    pub value_loss: f64,
    /// Share of the returns' variance that the baseline explains; 1 is perfect, 0 is no better
    /// than a constant.
    pub explained_variance: f64,
    /// Mean response tokens.
    pub response_tokens: f64,
    /// Largest difference between a rollout's log-probability and the learner's, on-policy.
    pub logprob_mismatch: f64,
    /// Norm of the policy's gradient before clipping.
    pub policy_grad_norm: f64,
    /// Norm of the value network's gradient before clipping.
    pub value_grad_norm: f64,
    /// The policy's learning rate.
    pub lr: f64,
}

/// Policy, value network and reference in training.
pub struct Reinforce {
    /// The policy, with its trainable parameters on the tape.
    pub policy: CausalLm,
    /// The value network, with its own trainable parameters on the tape.
    pub value: ScalarModel,
    reference: CausalLm,
    policy_optimizer: Optimizer,
    value_optimizer: Optimizer,
    config: ReinforceConfig,
    micro_batch_tokens: usize,
    step: u64,
}

impl Reinforce {
    /// Trains the trainable parameters of `policy` and `value`, at most `micro_batch_tokens` in
    /// memory at once.
    pub fn new(
        policy: CausalLm,
        value: ScalarModel,
        reference: CausalLm,
        config: ReinforceConfig,
        micro_batch_tokens: usize,
    ) -> Self {
        let policy_optimizer = Optimizer::new(config.policy.clone());
        let value_optimizer = Optimizer::new(config.value.clone());
        let reference = reference.frozen();
        Self {
            policy,
            value,
            reference,
            policy_optimizer,
            value_optimizer,
            config,
            micro_batch_tokens,
            step: 0,
        }
    }

    /// One step on rollouts; none where not a single episode is fit to learn from, and then
    /// nothing changes.
    ///
    /// Rollouts of an older policy are weighted by truncated importance weights; the baseline learns
    /// their returns as they are.
    pub fn step(&mut self, episodes: &[Episode]) -> Option<ReinforceMetrics> {
        let oldest = self.config.max_off_policy_steps;
        let recent: Vec<&Episode> =
            episodes.iter().filter(|e| e.off_policy_steps <= oldest).collect();
        let scored: Vec<(&Episode, f64)> = recent
            .iter()
            .filter(|e| !e.response.is_empty())
            .filter_map(|e| e.reward.as_ref().ok().map(|reward| (*e, *reward)))
            .collect();
        if scored.is_empty() {
            return None;
        }
        self.step += 1;
        let mut pass = self.gradients(&scored);
        let value = self.value_optimizer.step(&mut self.value, pass.value);
        let policy_trains = self.step > self.config.value_warmup_steps;
        let (policy_grad_norm, lr) = if policy_trains {
            let info = self.policy_optimizer.step(&mut self.policy, pass.policy);
            (info.grad_norm, info.lr)
        } else {
            (pass.policy.global_norm(), 0.0)
        };
        let rewards: Vec<f64> = scored.iter().map(|(_, reward)| *reward).collect();
        let (reward, variance) = mean_and_variance(&rewards);
        let (_, returns_variance) = mean_and_variance(&pass.returns);
        let errors: Vec<f64> = pass.returns.iter().zip(&pass.values).map(|(z, v)| z - v).collect();
        let (_, error_variance) = mean_and_variance(&errors);
        let count = scored.len() as f64;
        Some(ReinforceMetrics {
            episodes: scored.len(),
            unscorable: recent.len() - scored.len(),
            too_old: episodes.len() - recent.len(),
            off_policy_steps: scored.iter().map(|(e, _)| e.off_policy_steps as f64).sum::<f64>()
                / count,
            truncated: pass.truncated as f64 / pass.returns.len() as f64,
            reward,
            reward_std: variance.sqrt(),
            kl: pass.kl / count,
            policy_loss: pass.policy_loss,
            value_loss: errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64,
            explained_variance: 1.0 - error_variance / returns_variance.max(1e-12),
            response_tokens: pass.returns.len() as f64 / count,
            logprob_mismatch: pass.mismatch,
            policy_grad_norm,
            value_grad_norm: value.grad_norm,
            lr,
        })
    }

    /// Gradients of both losses, and what was seen on the way. Nothing changes.
    fn gradients(&self, scored: &[(&Episode, f64)]) -> StepPass {
        let mut pass = StepPass::default();
        let per_episode = 1.0 / scored.len() as f32;
        let lengths: Vec<usize> =
            scored.iter().map(|(e, _)| e.prompt.len() + e.response.len()).collect();
        let pieces = micro_batches(&lengths, self.micro_batch_tokens);
        let packed: Vec<ResponseBatch> = pieces
            .iter()
            .map(|piece| {
                let episodes = scored[piece.clone()].iter();
                ResponseBatch::new(episodes.map(|(e, _)| (&e.prompt[..], &e.response[..])))
            })
            .collect();

        let mut references = Vec::new();
        for (piece, packed) in pieces.iter().zip(&packed) {
            let reference = host(self.logprobs(&self.reference, packed));
            // The divergence paid is that of the policy that drew the tokens.
            let mut returns = Vec::new();
            for ((episode, reward), span) in scored[piece.clone()].iter().zip(&packed.spans) {
                let reference = &reference[span.clone()];
                returns.extend(token_returns(
                    *reward,
                    &episode.logprobs,
                    reference,
                    self.config.beta,
                    self.config.kl_placement,
                ));
                let ratios = episode.logprobs.iter().zip(reference);
                pass.kl += ratios.map(|(pi, reference)| f64::from(pi - reference)).sum::<f64>();
            }
            let values = self.value.forward_rows(&packed.batch, &packed.rows);
            pass.values.extend(host(values.clone().inner()).into_iter().map(f64::from));
            let value_loss = value_regression(values, &returns) * per_episode;
            pass.value.add(&self.value, &value_loss.backward());
            pass.returns.extend(returns.into_iter().map(f64::from));
            references.push(reference);
        }

        // From here on the baseline is plain numbers: no policy gradient reaches V.
        let advantages = self.advantages(&pass);
        let mut first = 0;
        for ((piece, packed), reference) in pieces.iter().zip(&packed).zip(&references) {
            let advantages = &advantages[first..first + packed.targets.len()];
            first += packed.targets.len();
            let logprobs = self.logprobs(&self.policy, packed);
            let now = host(logprobs.clone().inner());
            let weights = self.weights(&mut pass, &scored[piece.clone()], packed, &now);
            let weighted: Vec<f32> = advantages.iter().zip(&weights).map(|(a, w)| a * w).collect();
            let reward_weighted = policy_gradient(logprobs.clone(), &weighted);
            let loss = match self.config.kl_placement {
                KlPlacement::Reward => reward_weighted,
                KlPlacement::Loss => {
                    let kl = kl_penalty(logprobs, reference, &weights);
                    reward_weighted + kl * self.config.beta as f32
                }
            } * per_episode;
            pass.policy_loss += f64::from(loss.clone().into_scalar::<f32>());
            pass.policy.add(&self.policy, &loss.backward());
        }
        pass
    }

    /// The weight of every token: 1 where the policy itself drew it.
    fn weights(
        &self,
        pass: &mut StepPass,
        scored: &[(&Episode, f64)],
        packed: &ResponseBatch,
        now: &[f32],
    ) -> Vec<f32> {
        let mut weights = Vec::with_capacity(now.len());
        for ((episode, _), span) in scored.iter().zip(&packed.spans) {
            let now = &now[span.clone()];
            if episode.off_policy_steps > 0 {
                let cap = self.config.importance_cap;
                weights.extend(importance_weights(now, &episode.logprobs, cap));
                pass.truncated += weights[span.clone()].iter().filter(|w| **w >= cap).count();
                continue;
            }
            for (learner, rollout) in now.iter().zip(&episode.logprobs) {
                pass.mismatch = pass.mismatch.max(f64::from((learner - rollout).abs()));
            }
            weights.resize(span.end, 1.0);
        }
        weights
    }

    /// `Z_t - V(x_t)` of every token, less the batch's mean where that is asked for.
    fn advantages(&self, pass: &StepPass) -> Vec<f32> {
        let plain: Vec<f64> = pass.returns.iter().zip(&pass.values).map(|(z, v)| z - v).collect();
        let mean = match self.config.center_advantages {
            true => plain.iter().sum::<f64>() / plain.len() as f64,
            false => 0.0,
        };
        plain.into_iter().map(|advantage| (advantage - mean) as f32).collect()
    }

    fn logprobs(&self, model: &CausalLm, packed: &ResponseBatch) -> Tensor<1> {
        let hidden = model.forward(&packed.batch);
        model.token_logprobs(hidden, &packed.rows, &packed.targets, self.config.temperature)
    }

    /// Everything a later [`Reinforce::load`] needs to go on exactly.
    pub fn save(&self) -> TrainerState {
        let mut state = TrainerState::default();
        state.put_number("step", self.step);
        state.put_parameters("policy", &self.policy);
        state.put_parameters("value", &self.value);
        self.policy_optimizer.save("policy_optimizer", &mut state);
        self.value_optimizer.save("value_optimizer", &mut state);
        state
    }

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another model or method.
    pub fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        let device = self.policy.device();
        self.step = state.number("step")?;
        state.load_parameters("policy", &mut self.policy)?;
        state.load_parameters("value", &mut self.value)?;
        self.policy_optimizer.load("policy_optimizer", state, &device)?;
        self.value_optimizer.load("value_optimizer", state, &device)
    }
}

/// Sums over the micro-batches of one step.
#[derive(Default)]
struct StepPass {
    policy: GradientSum,
    value: GradientSum,
    policy_loss: f64,
    kl: f64,
    mismatch: f64,
    truncated: usize,
    returns: Vec<f64>,
    values: Vec<f64>,
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor
        .cast(burn::tensor::DType::F32)
        .into_data()
        .into_vec()
        .expect("a tensor cast to f32 holds f32 values")
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance)
}
