//! RLOO: REINFORCE with the other responses to the prompt as baseline (Ahmadian et al. 2024, arXiv
//! 2402.14740). A whole response is one action, so its divergence is paid at once and its tokens
//! share an advantage.

use crate::actor::Actor;
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::groups::leave_one_out;
use crate::halt::Halt;
use crate::kl::KlController;
use crate::metrics::PolicyMetrics;
use crate::rollouts::{Admission, Rollouts};
use crate::score_function::ScorePass;
use crate::shaping::RewardShaper;
use crate::state::{StateError, TrainerState};
use rlaif_models::CausalLm;
use rlaif_types::{Episode, KlPlacement, RlooConfig};

/// Policy and reference in training.
pub struct Rloo {
    actor: Actor,
    kl: KlController,
    shaper: RewardShaper,
    admission: Admission,
    config: RlooConfig,
}

impl Rloo {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: RlooConfig) -> Self {
        Self {
            actor: Actor::new(setup, config.policy.clone()),
            kl: setup.kl_controller(config.kl(), f64::INFINITY),
            shaper: RewardShaper::new(setup.learning.shaping),
            admission: setup.admission(false, config.max_off_policy_steps),
            config,
        }
    }

    /// `R_i - mean of the others' R` for every token of response `i`, where `R` is the reward, less
    /// `beta` times the divergence of the policy that drew where rewards pay for it.
    fn advantages(&self, rollouts: &Rollouts<'_>, reference: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let kl = self.kl.term;
        let returns = rollouts.episodes.iter().zip(reference).zip(&rollouts.rewards);
        let returns: Vec<f64> = returns
            .map(|((episode, reference), reward)| match kl.placement {
                KlPlacement::Loss => *reward,
                KlPlacement::Reward => {
                    let tokens = episode.logprobs.iter().zip(reference);
                    let paid: f64 = tokens.map(|(pi, r)| kl.estimator.value(*pi, *r)).sum();
                    reward - kl.beta * paid
                }
            })
            .collect();
        let advantages = rollouts.groups.iter().flat_map(|g| leave_one_out(&returns[g.clone()]));
        let episodes = advantages.zip(&rollouts.episodes);
        episodes.map(|(advantage, e)| vec![advantage as f32; e.response.len()]).collect()
    }
}

impl PolicyAlgorithm<Episode> for Rloo {
    fn step(&mut self, batch: &[Episode]) -> Result<PolicyMetrics, Halt> {
        let rollouts = Rollouts::admit(batch, &self.admission, &mut self.shaper)?;
        let mut metrics = rollouts.metrics.clone();
        let pieces = self.actor.pieces(&rollouts.responses());
        let reference = self.actor.reference_logprobs(&pieces);
        let kl = rollouts.kl(&reference);
        self.kl.check(kl, metrics.response_tokens)?;
        let advantages = self.advantages(&rollouts, &reference);
        let (term, cap) = (self.kl.term, self.config.importance_cap);
        let pass =
            ScorePass::over(&self.actor, &rollouts, &pieces, &advantages, &reference, term, cap)?;
        pass.report(&mut metrics);
        metrics.kl = Some(kl);
        metrics.beta = self.kl.adapting_beta();
        metrics.equal_groups = Some(rollouts.equal_groups());
        let info = self.actor.update(pass.grads)?;
        (metrics.policy_grad_norm, metrics.lr) = (info.grad_norm, info.lr);
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
        self.actor.save(&mut state);
        self.kl.save(&mut state);
        self.shaper.save(&mut state);
        state
    }

    fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        self.actor.load(state)?;
        self.kl.load(state)?;
        self.shaper.load(state)
    }
}
