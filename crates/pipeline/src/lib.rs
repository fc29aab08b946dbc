//! A whole run: from prompts to an aligned policy and a report that proves it.
//!
//! [`stages`] holds what each stage does to one piece of work; [`run`] drives all of them in one
//! process over a [`RunFolder`]. A cluster drives the same stages over a queue.

mod config;
mod dialogue;
mod error;
mod local;
mod manifest;
mod models;
mod progress;
mod report;
mod run_folder;
mod seed;
pub mod stages;

pub use config::{
    DataConfig, EvaluateConfig, Job, LabelerConfig, PolicyConfig, RewardModelConfig, RewardSource,
    RlConfig, SamplingConfig, SftConfig,
};
pub use error::Error;
pub use local::{Outcome, RunOptions, run};
pub use manifest::Manifest;
pub use progress::{Progress, Silent};
pub use run_folder::RunFolder;
