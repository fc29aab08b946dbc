//! Training: supervised fine-tuning, reward model, and the algorithms that improve a policy (paper
//! sections 2 to 4 and 8).
//!
//! Pure computation on models and token sequences. Trainers take batches, return what they
//! measured, and give their whole state as named tensors; where any of it is stored, and which
//! labeler or reward model the rewards came from, is their caller's business.

mod actor;
mod algorithm;
mod average;
mod clipped;
mod critic;
mod dpo;
mod drawn;
mod gradients;
mod groups;
mod grpo;
mod halt;
mod kl;
pub mod loss;
mod metrics;
mod micro_batch;
mod minibatch;
mod online_dpo;
mod optimizer;
mod pairing;
mod pairs;
mod ppo;
mod reinforce;
mod replicas;
mod response_batch;
pub mod returns;
mod reward_model;
mod reward_objective;
mod rloo;
mod rollouts;
mod score_function;
mod sft;
mod shaping;
mod state;
mod values;

pub use algorithm::{PolicyAlgorithm, PolicyTrainer, Setup};
pub use average::AVERAGE;
pub use dpo::Dpo;
pub use grpo::Grpo;
pub use halt::Halt;
pub use metrics::PolicyMetrics;
pub use online_dpo::OnlineDpo;
pub use optimizer::Optimizer;
pub use pairs::PreferencePair;
pub use ppo::Ppo;
pub use reinforce::Reinforce;
pub use reward_model::{LabelledPair, PairScores, RewardMetrics, RewardTrainer};
pub use rloo::Rloo;
pub use sft::{Demonstration, SftMetrics, SftTrainer};
pub use state::{StateError, TrainerState};
