//! The domain's vocabulary: prompts, pairs, labels, judgements, content hashes.
//!
//! Everything else in the workspace depends on this crate; it depends on nothing of ours and does
//! no I/O, so a type here can travel through a file, a queue or an RPC unchanged.

mod algorithm;
mod budget;
mod distinct;
mod episode;
mod hash;
mod judgement;
mod label;
mod precision;
mod preference;
mod price;
mod problem;
mod prompt;
mod reward_training;
pub mod round_robin;
mod training;
mod verdict;

pub use algorithm::{
    AdaptiveKl, Aggregation, Algorithm, AlgorithmKind, DpoConfig, GrpoConfig, KlEstimator,
    KlPlacement, KlTerm, OnlineDpoConfig, PolicyLearning, PpoConfig, PreferenceLoss,
    ReinforceConfig, RewardNormalisation, RewardShaping, RlooConfig,
};
pub use budget::{Ceiling, Spend};
pub use distinct::Distinct;
pub use episode::{Episode, Finish};
pub use hash::{ContentHash, Hasher, canonical_json};
pub use judgement::{Judgement, Unscorable, UnscorableReason};
pub use label::{LabelId, SoftLabel};
pub use precision::Precision;
pub use preference::{Confidence, HumanLabel, Preference};
pub use price::{HUMAN_LABEL_PER_50_WORDS, Money, Price, PriceError, Prices, Usage, amount};
pub use problem::{Problem, Problems};
pub use prompt::{Message, Pair, Prompt, Role, estimated_tokens, says_nothing};
pub use reward_training::{LabelSource, PairOrder, PairWeighting, Plateau, RewardObjective};
pub use training::{LoraConfig, OptimizerConfig, OptimizerKind};
pub use verdict::{Answered, Comparison, Item, OrderScores, Rating, Rationale, verdict_mass};
