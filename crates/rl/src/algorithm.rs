//! What all algorithms that improve a policy have in common: they are set up from one start, make
//! steps on batches, and can be saved between any two.

use crate::dpo::Dpo;
use crate::grpo::Grpo;
use crate::halt::Halt;
use crate::kl::KlController;
use crate::metrics::PolicyMetrics;
use crate::minibatch::Schedule;
use crate::online_dpo::OnlineDpo;
use crate::pairs::PreferencePair;
use crate::ppo::Ppo;
use crate::reinforce::Reinforce;
use crate::rloo::Rloo;
use crate::rollouts::Admission;
use crate::state::{StateError, TrainerState};
use rlaif_models::{CausalLm, Trainable};
use rlaif_types::{Algorithm, Episode, KlTerm, PolicyLearning};

/// An algorithm that improves a policy from batches of examples.
pub trait PolicyAlgorithm<Example>: Send {
    /// One step on a batch.
    ///
    /// # Errors
    /// When training cannot go on. What the step has changed by then is not to be used; a saved state
    /// is.
    fn step(&mut self, batch: &[Example]) -> Result<PolicyMetrics, Halt>;

    /// The policy, with its trainable parameters on the tape.
    fn policy(&self) -> &CausalLm;

    /// What training leaves: the policy, or the average of its weights where one is kept.
    fn trained(&self) -> &CausalLm;

    /// Everything a later [`PolicyAlgorithm::load`] needs to go on exactly.
    fn save(&self) -> TrainerState;

    /// Goes on from a saved state.
    ///
    /// # Errors
    /// When the state is of another model or method.
    fn load(&mut self, state: &TrainerState) -> Result<(), StateError>;
}

/// What an algorithm starts from.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// The policy before its first step, which is also the reference and the value network's body.
    pub start: &'a CausalLm,
    /// The start on further devices, which share the micro-batches.
    pub replicas: &'a [CausalLm],
    /// What of it is trained.
    pub trainable: &'a Trainable,
    /// How it learns.
    pub learning: &'a PolicyLearning,
    /// Tokens in memory at once.
    pub micro_batch_tokens: usize,
    /// Seed of everything drawn.
    pub seed: u64,
}

impl Setup<'_> {
    /// The algorithm that `learning` names.
    pub fn trainer(&self) -> PolicyTrainer {
        use PolicyTrainer::{Offline, Online};
        match self.learning.algorithm.clone() {
            Algorithm::Reinforce(config) => Online(Box::new(Reinforce::new(self, config))),
            Algorithm::Rloo(config) => Online(Box::new(Rloo::new(self, config))),
            Algorithm::Grpo(config) => Online(Box::new(Grpo::new(self, config))),
            Algorithm::Ppo(config) => Online(Box::new(Ppo::new(self, config))),
            Algorithm::OnlineDpo(config) => Online(Box::new(OnlineDpo::new(self, config))),
            Algorithm::Dpo(config) => Offline(Box::new(Dpo::new(self, config))),
        }
    }

    pub(crate) fn kl_controller(&self, term: KlTerm, most: f64) -> KlController {
        let learning = self.learning;
        KlController::new(term, learning.adaptive_kl, most, learning.max_kl_per_token)
    }

    pub(crate) fn admission(&self, alone_counts: bool, max_off_policy_steps: usize) -> Admission {
        Admission {
            group_size: self.learning.group_size,
            alone_counts,
            max_off_policy_steps,
            context_length: self.start.config.max_position_embeddings,
        }
    }

    pub(crate) fn schedule(&self, epochs: usize, minibatches: usize) -> Schedule {
        Schedule { epochs, minibatches, seed: self.seed }
    }
}

/// An algorithm by what it learns from.
pub enum PolicyTrainer {
    /// From rollouts.
    Online(Box<dyn PolicyAlgorithm<Episode>>),
    /// From given pairs.
    Offline(Box<dyn PolicyAlgorithm<PreferencePair>>),
}

impl PolicyTrainer {
    /// See [`PolicyAlgorithm::policy`].
    pub fn policy(&self) -> &CausalLm {
        match self {
            Self::Online(algorithm) => algorithm.policy(),
            Self::Offline(algorithm) => algorithm.policy(),
        }
    }

    /// See [`PolicyAlgorithm::trained`].
    pub fn trained(&self) -> &CausalLm {
        match self {
            Self::Online(algorithm) => algorithm.trained(),
            Self::Offline(algorithm) => algorithm.trained(),
        }
    }

    /// See [`PolicyAlgorithm::save`].
    pub fn save(&self) -> TrainerState {
        match self {
            Self::Online(algorithm) => algorithm.save(),
            Self::Offline(algorithm) => algorithm.save(),
        }
    }

    /// See [`PolicyAlgorithm::load`].
    ///
    /// # Errors
    /// When the state is of another model or method.
    pub fn load(&mut self, state: &TrainerState) -> Result<(), StateError> {
        match self {
            Self::Online(algorithm) => algorithm.load(state),
            Self::Offline(algorithm) => algorithm.load(state),
        }
    }
}
