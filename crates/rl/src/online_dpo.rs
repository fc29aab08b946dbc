//! Online preference optimisation from AI feedback (OAIF, Guo et al. 2024, arXiv 2402.04792): the
//! policy draws several responses to a prompt, the reward source says which is best and which is
//! worst, and DPO, IPO or SLiC learns the pair.

use crate::actor::{Actor, Response};
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::groups::best_and_worst;
use crate::halt::Halt;
use crate::kl::check_kl;
use crate::metrics::PolicyMetrics;
use crate::pairs;
use crate::rollouts::{Admission, Rollouts};
use crate::shaping::RewardShaper;
use crate::state::{StateError, TrainerState};
use rlaif_models::CausalLm;
use rlaif_types::{Episode, OnlineDpoConfig, SoftLabel};

/// Policy and reference in training.
pub struct OnlineDpo {
    actor: Actor,
    shaper: RewardShaper,
    admission: Admission,
    max_kl_per_token: f64,
    config: OnlineDpoConfig,
}

impl OnlineDpo {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: OnlineDpoConfig) -> Self {
        Self {
            actor: Actor::new(setup, config.policy.clone()),
            shaper: RewardShaper::new(setup.learning.shaping),
            admission: setup.admission(false, config.max_off_policy_steps),
            max_kl_per_token: setup.learning.max_kl_per_token,
            config,
        }
    }
}

impl PolicyAlgorithm<Episode> for OnlineDpo {
    /// Groups whose rewards are all equal teach nothing; where all are such, nothing changes.
    fn step(&mut self, batch: &[Episode]) -> Result<PolicyMetrics, Halt> {
        let rollouts = Rollouts::admit(batch, &self.admission, &mut self.shaper)?;
        let mut metrics = rollouts.metrics.clone();
        let responses = rollouts.responses();
        let reference = self.actor.reference_logprobs(&self.actor.pieces(&responses));
        let kl = rollouts.kl(&reference);
        check_kl(kl, metrics.response_tokens, self.max_kl_per_token)?;
        metrics.kl = Some(kl);
        metrics.equal_groups = Some(rollouts.equal_groups());
        let ordered = rollouts.groups.iter().filter_map(|group| {
            let (best, worst) = best_and_worst(&rollouts.rewards[group.clone()])?;
            Some([responses[group.start + best], responses[group.start + worst]])
        });
        let ordered: Vec<Response<'_>> = ordered.flatten().collect();
        metrics.episodes = ordered.len();
        if !ordered.is_empty() {
            let labels = vec![SoftLabel::new(1.0).expect("1 is a probability"); ordered.len() / 2];
            let how = (self.config.loss, self.config.beta);
            pairs::update(&mut self.actor, &ordered, &labels, how, &mut metrics)?;
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
        self.actor.save(&mut state);
        self.shaper.save(&mut state);
        state
    }

    fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        self.actor.load(state)?;
        self.shaper.load(state)
    }
}
