//! What workers share: how work is executed and fails, models and engines, prompts as tokens, long
//! training that survives its worker.
//!
//! A worker is an [`Executor`] for its kinds of work over the [`Resources`] of its process. A
//! [`Bench`] gives it the items of a queue, and a [`Host`] makes a network [`Service`] of it.

pub mod config;
mod desk;
mod dialogue;
pub mod direct;
mod endpoints;
mod engines;
mod executor;
mod failure;
mod host;
mod lru;
pub mod memory;
mod model_cache;
mod progress;
mod queue_work;
mod resources;
mod rest;
mod serve;
mod service;
mod spans;
mod training;
mod versions;
mod work_metrics;

pub use config::Config;
pub use desk::{Desk, DirectModel, Source};
pub use dialogue::{Dialogue, PromptError};
pub use executor::{Executor, Retry, settle};
pub use failure::Failure;
pub use host::{Error, Host};
pub use model_cache::{Loaded, Located, ModelCache, open_checkpoint};
pub use progress::{Advance, Progress};
pub use resources::{JobResources, ResourceOptions, Resources};
pub use rlaif_artifacts::BlockingArtifacts;
pub use serve::Bench;
pub use service::{Parts, Service, Task};
pub use training::{
    LongTraining, Resumable, load_state, save_model, step_record, tell_left_out, trainable,
};
pub use versions::{kept_versions, state_name, version_name};
