//! Training: supervised fine-tuning, reward model, REINFORCE (paper sections 2 to 4).
//!
//! Pure computation on models and token sequences. Trainers take batches, return what they
//! measured, and give their whole state as named tensors; where any of it is stored, and which
//! labeler or reward model the rewards came from, is their caller's business.

mod gradients;
pub mod loss;
mod micro_batch;
mod optimizer;
mod reinforce;
mod response_batch;
pub mod returns;
mod reward_model;
mod reward_objective;
mod sft;
mod state;
mod values;

pub use optimizer::Optimizer;
pub use reinforce::{Reinforce, ReinforceMetrics};
pub use reward_model::{LabelledPair, PairScores, RewardMetrics, RewardTrainer};
pub use sft::{Demonstration, SftMetrics, SftTrainer};
pub use state::{StateError, TrainerState};
