//! Language models on Burn: files in, tokens and log-probabilities out.
//!
//! [`checkpoint`](Checkpoint) opens a model from disk, [`transformer`](CausalLm) is its forward
//! pass, [`Engine`] is a thread that owns one and answers requests. Nothing here knows what a label
//! or a reward is, and nothing opens a socket except the [`Registry`] that pulls models.

mod config;
pub mod kernels;

pub use config::{Family, ModelConfig, RopeScaling};
