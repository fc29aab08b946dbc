//! The domain's vocabulary: prompts, pairs, labels, judgements, content hashes.
//!
//! Everything else in the workspace depends on this crate; it depends on nothing of ours and does
//! no I/O, so a type here can travel through a file, a queue or an RPC unchanged.

mod comparison;
mod hash;
mod judgement;
mod label;
mod prompt;
mod rating;

pub use comparison::{Comparison, OrderScores};
pub use hash::{ContentHash, Hasher};
pub use judgement::{Judgement, Unscorable, UnscorableReason};
pub use label::{LabelId, SoftLabel};
pub use prompt::{Message, Pair, Prompt, Role};
pub use rating::{Answered, Item, Rating};
