//! Online preference optimisation from AI feedback (OAIF, Guo et al. 2024, arXiv 2402.04792): the
//! policy draws several responses to a prompt, the reward source says which is best and which is
//! worst, and DPO, IPO or SLiC learns the pair.

use crate::actor::{Actor, Response};
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::drawn::Drawn;
use crate::groups::best_and_worst;
use crate::halt::{Halt, check_finite};
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
        let pieces = self.actor.pieces(&responses);
        let reference = self.actor.reference_logprobs(&pieces);
        let kl = rollouts.kl(&reference);
        check_kl(kl, metrics.response_tokens, self.max_kl_per_token)?;
        metrics.kl = Some(kl);
        metrics.equal_groups = Some(rollouts.equal_groups());
        let best_against_worst = rollouts.groups.iter().filter_map(|group| {
            let (best, worst) = best_and_worst(&rollouts.rewards[group.clone()])?;
            Some([group.start + best, group.start + worst])
        });
        let ordered: Vec<usize> = best_against_worst.flatten().collect();
        metrics.episodes = ordered.len();
        let mut drawn = Drawn::default();
        if ordered.is_empty() {
            // Nothing is learned, but whether the policy is still sound is looked at all the same.
            let now = self.actor.policy_logprobs(&pieces);
            rollouts.episodes.iter().zip(&now).for_each(|(episode, now)| drawn.see(episode, now));
            let what = "the policy's mean log-probability of the rollouts";
            check_finite(what, drawn.mean_logprob(), &self.actor.policy)?;
        } else {
            let labels = vec![SoftLabel::new(1.0).expect("1 is a probability"); ordered.len() / 2];
            let how = (self.config.loss, self.config.beta);
            let learned: Vec<Response<'_>> = ordered.iter().map(|i| responses[*i]).collect();
            let now = pairs::update(&mut self.actor, &learned, &labels, how, &mut metrics)?;
            ordered.iter().zip(&now).for_each(|(i, now)| drawn.see(rollouts.episodes[*i], now));
        }
        drawn.report(&mut metrics);
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
