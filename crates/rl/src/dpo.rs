//! Direct preference optimisation on given preferences (Rafailov et al. 2023, arXiv 2305.18290), or
//! IPO or SLiC on the same pairs: no rollouts, no reward.

use crate::actor::{Actor, Response};
use crate::algorithm::{PolicyAlgorithm, Setup};
use crate::halt::Halt;
use crate::metrics::PolicyMetrics;
use crate::pairs::{self, PreferencePair};
use crate::state::{StateError, TrainerState};
use rlaif_models::CausalLm;
use rlaif_types::{DpoConfig, SoftLabel};

/// Policy and reference in training.
pub struct Dpo {
    actor: Actor,
    context_length: usize,
    config: DpoConfig,
}

impl Dpo {
    /// Trains from `setup`'s start.
    pub fn new(setup: &Setup<'_>, config: DpoConfig) -> Self {
        let actor = Actor::new(setup, config.policy.clone());
        Self { actor, context_length: setup.start.config.max_position_embeddings, config }
    }

    fn readable(&self, pair: &PreferencePair) -> bool {
        let responses = [&pair.a, &pair.b];
        !pair.prompt.is_empty()
            && responses
                .iter()
                .all(|r| !r.is_empty() && pair.prompt.len() + r.len() <= self.context_length)
    }
}

impl PolicyAlgorithm<PreferencePair> for Dpo {
    /// Pairs with an empty response, or one that is too long for the policy, take no part.
    fn step(&mut self, batch: &[PreferencePair]) -> Result<PolicyMetrics, Halt> {
        let pairs: Vec<&PreferencePair> = batch.iter().filter(|p| self.readable(p)).collect();
        if pairs.is_empty() {
            let what =
                "not one pair has two responses that are not empty and fit the policy's context";
            return Err(Halt::NothingToLearn(what.into()));
        }
        let responses: Vec<Response<'_>> = pairs
            .iter()
            .flat_map(|p| [(&p.prompt[..], &p.a[..]), (&p.prompt[..], &p.b[..])])
            .collect();
        let labels: Vec<SoftLabel> = pairs.iter().map(|p| p.label).collect();
        let tokens: usize = responses.iter().map(|(_, response)| response.len()).sum();
        let mut metrics = PolicyMetrics {
            episodes: responses.len(),
            unscorable: 2 * (batch.len() - pairs.len()),
            response_tokens: tokens as f64 / responses.len() as f64,
            ..PolicyMetrics::default()
        };
        let how = (self.config.loss, self.config.beta);
        pairs::update(&mut self.actor, &responses, &labels, how, &mut metrics)?;
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
        state
    }

    fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        self.actor.load(state)
    }
}
