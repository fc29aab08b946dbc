//! GRPO: rewards standardised within the group of a prompt's responses, clipped ratios, the
//! divergence in the loss (Shao et al. 2024, arXiv 2402.03300).

use crate::actor::Actor;
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::clipped::{Frozen, Surrogate, Updates};
use crate::groups::relative;
use crate::halt::Halt;
use crate::kl::KlController;
use crate::metrics::PolicyMetrics;
use crate::minibatch::Schedule;
use crate::rollouts::{Admission, Rollouts};
use crate::shaping::RewardShaper;
use crate::state::{StateError, TrainerState};
use rlaif_models::CausalLm;
use rlaif_types::{Episode, GrpoConfig};

/// Policy and reference in training.
pub struct Grpo {
    actor: Actor,
    kl: KlController,
    shaper: RewardShaper,
    admission: Admission,
    schedule: Schedule,
    config: GrpoConfig,
    step: u64,
}

impl Grpo {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: GrpoConfig) -> Self {
        Self {
            actor: Actor::new(setup, config.policy.clone()),
            kl: setup.kl_controller(config.kl(), f64::INFINITY),
            shaper: RewardShaper::new(setup.learning.shaping),
            admission: setup.admission(false, config.max_off_policy_steps),
            schedule: setup.schedule(config.epochs, config.minibatches),
            config,
            step: 0,
        }
    }

    /// `(r_i - mean) / deviation` of the group for every token of response `i`.
    fn advantages(&self, rollouts: &Rollouts<'_>) -> Vec<Vec<f32>> {
        let scaled = self.config.scale_by_deviation;
        let groups = rollouts.groups.iter();
        let advantages = groups.flat_map(|g| relative(&rollouts.rewards[g.clone()], scaled));
        let episodes = advantages.zip(&rollouts.episodes);
        episodes.map(|(advantage, e)| vec![advantage as f32; e.response.len()]).collect()
    }
}

impl PolicyAlgorithm<Episode> for Grpo {
    fn step(&mut self, batch: &[Episode]) -> Result<PolicyMetrics, Halt> {
        let rollouts = Rollouts::admit(batch, &self.admission, &mut self.shaper)?;
        let mut metrics = rollouts.metrics.clone();
        let reference = self.actor.reference_logprobs(&self.actor.pieces(&rollouts.responses()));
        let kl = rollouts.kl(&reference);
        self.kl.check(kl, metrics.response_tokens)?;
        let advantages = self.advantages(&rollouts);
        let frozen = Frozen { rollouts: &rollouts, advantages: &advantages, reference: &reference };
        let surrogate = Surrogate {
            clip: (self.config.clip_low as f32, self.config.clip_high as f32),
            aggregation: self.config.aggregation,
            kl: self.kl.term,
        };
        let mut updates = Updates::default();
        let schedule = self.schedule.updates(rollouts.episodes.len(), self.step);
        let in_an_epoch = schedule.len() / self.config.epochs;
        for (i, members) in schedule.iter().enumerate() {
            updates.make(&mut self.actor, &frozen, members, surrogate, i < in_an_epoch)?;
        }
        updates.report(&mut metrics);
        metrics.kl = Some(kl);
        metrics.beta = self.kl.adapting_beta();
        metrics.equal_groups = Some(rollouts.equal_groups());
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
        self.kl.save(&mut state);
        self.shaper.save(&mut state);
        state
    }

    fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        self.step = state.number("step")?;
        self.actor.load(state)?;
        self.kl.load(state)?;
        self.shaper.load(state)
    }
}
