//! Model files: what is on disk, checked before it is believed.

pub mod dequantize;
pub mod gguf;
pub mod gguf_model;
pub mod gguf_tokenizer;
pub mod hf;
pub mod peft;
pub mod safetensors;
