//! What workers share: how work is executed and fails, models and engines, prompts as tokens, long
//! training that survives its worker.
//!
//! A worker is an [`Executor`] for its kinds of work over the [`Resources`] of its process. Nothing
//! here knows where work comes from.

mod dialogue;
mod engines;
mod executor;
mod failure;
mod lru;
mod model_cache;
mod progress;
mod resources;
mod serve;
mod training;

pub use dialogue::{Dialogue, PromptError};
pub use executor::{Executor, Retry, settle};
pub use failure::Failure;
pub use model_cache::{Loaded, ModelCache};
pub use progress::{Advance, Progress};
pub use resources::{JobResources, ResourceOptions, Resources};
pub use rlaif_artifacts::BlockingArtifacts;
pub use serve::serve;
pub use training::{LongTraining, Resumable, load_state, save_model, step_record, trainable};
