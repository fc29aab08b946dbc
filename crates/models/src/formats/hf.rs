//! Model folders as the Hugging Face hub lays them out: `config.json` and what goes with it.

use crate::chat::ChatTemplate;
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::error::Error;
use crate::folder::replace_folder;
use crate::tokenizer::Tokenizer;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Reads `config.json`.
///
/// # Errors
/// When a required number is missing or senseless, or the architecture is not supported.
pub fn read_config(folder: &Path) -> Result<ModelConfig, Error> {
    let path = folder.join("config.json");
    let text = fs::read(&path).map_err(Error::io(&path))?;
    let json: Map<String, Value> = serde_json::from_slice(&text)
        .map_err(|e| Error::malformed(&path, format!("not a JSON object: {e}")))?;
    parse_config(&json, &path)
}

fn parse_config(json: &Map<String, Value>, path: &Path) -> Result<ModelConfig, Error> {
    let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or("");
    let family = match model_type {
        "llama" | "mistral" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        other => {
            let what = format!("architecture {other:?} (supported: llama, mistral, qwen2, qwen3)");
            return Err(Error::unsupported(path, what));
        }
    };
    let flag = |key: &str, default: bool| json.get(key).and_then(Value::as_bool).unwrap_or(default);
    if flag("attention_bias", false) || flag("mlp_bias", false) {
        return Err(Error::unsupported(path, "attention_bias or mlp_bias"));
    }
    if flag("use_sliding_window", model_type == "mistral")
        && json.get("sliding_window").is_some_and(|w| !w.is_null())
    {
        return Err(Error::unsupported(path, "a sliding attention window"));
    }
    let number = |key: &str| -> Result<usize, Error> {
        let value = json.get(key).and_then(Value::as_u64).filter(|n| (1..1 << 32).contains(n));
        value
            .map(|n| n as usize)
            .ok_or_else(|| Error::malformed(path, format!("{key} is missing or not a number")))
    };
    let num_attention_heads = number("num_attention_heads")?;
    let hidden_size = number("hidden_size")?;
    // Newer files keep rotary settings together in `rope_parameters`.
    let rope = json.get("rope_parameters").or(json.get("rope_scaling"));
    let rope = rope.and_then(Value::as_object);
    let theta = rope.and_then(|r| r.get("rope_theta")).or(json.get("rope_theta"));
    let config = ModelConfig {
        family,
        vocab_size: number("vocab_size")?,
        hidden_size,
        intermediate_size: number("intermediate_size")?,
        num_hidden_layers: number("num_hidden_layers")?,
        num_attention_heads,
        num_key_value_heads: number("num_key_value_heads").unwrap_or(num_attention_heads),
        head_dim: number("head_dim").unwrap_or(hidden_size / num_attention_heads),
        rms_norm_eps: json.get("rms_norm_eps").and_then(Value::as_f64).unwrap_or(1e-6),
        rope_theta: theta.and_then(Value::as_f64).unwrap_or(10_000.0),
        rope_scaling: rope.map_or(Ok(RopeScaling::Default), |rope| parse_scaling(rope, path))?,
        max_position_embeddings: number("max_position_embeddings")?,
        tie_word_embeddings: flag("tie_word_embeddings", false),
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        bos_token_id: json.get("bos_token_id").and_then(Value::as_u64).map(|id| id as u32),
        eos_token_ids: token_ids(json.get("eos_token_id")),
    };
    check(&config).map_err(|what| Error::malformed(path, what))?;
    Ok(config)
}

/// What must hold between a configuration's numbers.
pub(super) fn check(config: &ModelConfig) -> Result<(), String> {
    if !config.num_attention_heads.is_multiple_of(config.num_key_value_heads) {
        return Err("num_attention_heads is not a multiple of num_key_value_heads".into());
    }
    if config.head_dim == 0 || !config.head_dim.is_multiple_of(2) {
        return Err(format!("head_dim {} is not even", config.head_dim));
    }
    Ok(())
}

fn token_ids(value: Option<&Value>) -> Vec<u32> {
    match value {
        Some(Value::Array(ids)) => {
            ids.iter().filter_map(Value::as_u64).map(|id| id as u32).collect()
        }
        Some(id) => id.as_u64().map(|id| id as u32).into_iter().collect(),
        None => Vec::new(),
    }
}

fn parse_scaling(rope: &Map<String, Value>, path: &Path) -> Result<RopeScaling, Error> {
    let kind = rope.get("rope_type").or(rope.get("type")).and_then(Value::as_str);
    let number = |key: &str| -> Result<f64, Error> {
        rope.get(key)
            .and_then(Value::as_f64)
            .filter(|x| *x > 0.0)
            .ok_or_else(|| Error::malformed(path, format!("rope scaling has no usable {key}")))
    };
    match kind.unwrap_or("default") {
        "default" => Ok(RopeScaling::Default),
        "linear" => Ok(RopeScaling::Linear { factor: number("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_position_embeddings: number("original_max_position_embeddings")? as usize,
        }),
        other => Err(Error::unsupported(path, format!("rope scaling {other:?}"))),
    }
}

/// What a saved model ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A vocabulary: `*ForCausalLM`.
    CausalLm,
    /// One number: `*ForSequenceClassification` with `num_labels` 1.
    Reward,
}

/// A tensor to save: name, shape, values.
pub type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Writes a folder that transformers loads, as [`replace_folder`] does: all of it or nothing.
///
/// # Errors
/// When writing fails, for example on a full disk; what was there before is intact.
pub fn save(
    folder: &Path,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    chat_template: Option<&ChatTemplate>,
    tensors: &[NamedTensor],
    head: Head,
) -> Result<(), Error> {
    replace_folder(folder, |folder| {
        write_files(folder, config, tokenizer, chat_template, tensors, head)
    })
}

fn write_files(
    folder: &Path,
    config: &ModelConfig,
    tokenizer: &Tokenizer,
    chat_template: Option<&ChatTemplate>,
    tensors: &[NamedTensor],
    head: Head,
) -> Result<(), Error> {
    write_json(&folder.join("config.json"), &config_json(config, tokenizer, head))?;
    if head == Head::CausalLm {
        let generation = json!({
            "bos_token_id": config.bos_token_id,
            "eos_token_id": config.eos_token_ids,
        });
        write_json(&folder.join("generation_config.json"), &generation)?;
    }
    tokenizer.save(folder)?;
    let pad = match head {
        Head::CausalLm => config.eos_token_ids.first().copied(),
        Head::Reward => tokenizer.padding_id(),
    };
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": false,
        "model_max_length": config.max_position_embeddings,
        "eos_token": config.eos_token_ids.first().and_then(|id| tokenizer.token_text(*id)),
        "bos_token": config.bos_token_id.and_then(|id| tokenizer.token_text(id)),
        "pad_token": pad.and_then(|id| tokenizer.token_text(id)),
        "chat_template": chat_template.map(ChatTemplate::source),
    });
    write_json(&folder.join("tokenizer_config.json"), &tokenizer_config)?;
    write_weights(&folder.join("model.safetensors"), tensors)
}

pub(super) fn write_weights(path: &Path, tensors: &[NamedTensor]) -> Result<(), Error> {
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, shape, values)| {
            TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))
                .map(|view| (name, view))
                .map_err(|e| Error::malformed(path, format!("{name}: {e}")))
        })
        .collect::<Result<_, _>>()?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(source) => Error::io(path)(source),
        other => Error::malformed(path, other.to_string()),
    })?;
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

/// Writes a JSON file of a model's folder; it is on the disk then.
///
/// # Errors
/// When writing fails.
pub fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(value).expect("a JSON value always serialises");
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(&text)?;
        file.sync_all()
    };
    write().map_err(Error::io(path))
}

fn config_json(config: &ModelConfig, tokenizer: &Tokenizer, head: Head) -> Value {
    let (model_type, class) = match config.family {
        Family::Llama => ("llama", "Llama"),
        Family::Qwen2 => ("qwen2", "Qwen2"),
        Family::Qwen3 => ("qwen3", "Qwen3"),
    };
    let suffix = if head == Head::Reward { "ForSequenceClassification" } else { "ForCausalLM" };
    let mut json = json!({
        "architectures": [format!("{class}{suffix}")],
        "model_type": model_type,
        "hidden_act": "silu",
        "attention_bias": false,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids,
        "torch_dtype": "float32",
    });
    if config.rope_scaling != RopeScaling::Default {
        json["rope_scaling"] =
            serde_json::to_value(&config.rope_scaling).expect("plain numbers serialise");
    }
    if head == Head::Reward {
        json["num_labels"] = json!(1);
        json["id2label"] = json!({"0": "LABEL_0"});
        json["label2id"] = json!({"LABEL_0": 0});
        json["pad_token_id"] = json!(tokenizer.padding_id());
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: Value) -> Result<ModelConfig, Error> {
        parse_config(json.as_object().unwrap(), Path::new("config.json"))
    }

    fn llama() -> Value {
        json!({"model_type": "llama", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16,
               "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32})
    }

    #[test]
    fn reads_old_and_new_rope_settings() {
        let mut old = llama();
        old["rope_theta"] = json!(5e5);
        old["rope_scaling"] = json!({"type": "linear", "factor": 2.0});
        let mut new = llama();
        new["rope_parameters"] = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5});
        assert_eq!(parse(old).unwrap(), parse(new).unwrap());
    }

    #[test]
    fn refuses_what_it_would_compute_wrongly() {
        for (key, value) in [
            ("model_type", json!("gpt2")),
            ("attention_bias", json!(true)),
            ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})),
            ("num_key_value_heads", json!(3)),
            ("vocab_size", json!(-1)),
        ] {
            let mut config = llama();
            config[key] = value.clone();
            assert!(parse(config).is_err(), "{key} = {value} was accepted");
        }
    }
}
