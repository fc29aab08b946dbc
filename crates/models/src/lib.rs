//! Language models on Burn: files in, tokens and log-probabilities out.
//!
//! A [`Checkpoint`] is a model on disk, a [`CausalLm`] or [`ScalarModel`] its weights and forward
//! pass, an [`Engine`] a thread that owns one and answers requests. Nothing here knows what a label
//! or a reward is.

pub mod allocator;
mod block;
mod chat;
mod checkpoint;
mod config;
mod device;
mod engine;
mod error;
mod export;
mod folder;
mod footprint;
pub mod formats;
pub mod kernels;
mod kv_cache;
mod language_model;
mod linear;
mod lora;
mod packed;
mod parameters;
mod recompute;
mod rope;
mod scalar_model;
mod text_start;
mod tokenizer;
mod transformer;

pub use chat::{ChatTemplate, Segment};
pub use checkpoint::{Checkpoint, TensorSource};
pub use config::{Family, ModelConfig, RopeScaling};
pub use device::DeviceName;
pub use engine::{Engine, EngineModel, EngineOptions};
pub use error::Error;
pub use folder::replace_folder;
pub use footprint::Footprint;
pub use language_model::{
    Answer, Ask, Finish, GenerateRequest, Generation, LanguageModel, ModelInfo, Sampling,
    ScoreRequest, Then,
};
pub use lora::LoraPair;
pub use packed::{PackedBatch, shared_prefix};
pub use parameters::{ParamMut, ParamRef, Parameters};
pub use scalar_model::ScalarModel;
pub use tokenizer::Tokenizer;
pub use transformer::{CausalLm, Trainable};
