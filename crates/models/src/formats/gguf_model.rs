//! A GGUF file as a model: configuration, HF tensor names, and the row order of q and k.

use super::gguf::{Gguf, Value};
use super::hf;
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::error::Error;
use std::collections::HashMap;

/// The configuration in a file's metadata.
///
/// # Errors
/// When the architecture is unknown or a number is missing.
pub fn config(file: &Gguf) -> Result<ModelConfig, Error> {
    let architecture = file.get("general.architecture")?.as_str().unwrap_or("").to_owned();
    let family = match architecture.as_str() {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        other => {
            let what = format!("architecture {other:?} (supported: llama, qwen2, qwen3)");
            return Err(Error::unsupported(file.path(), what));
        }
    };
    let optional = |key: &str| file.metadata.get(&format!("{architecture}.{key}"));
    let number = |key: &str| -> Result<usize, Error> {
        optional(key).and_then(Value::as_usize).filter(|n| (1..1 << 32).contains(n)).ok_or_else(
            || {
                Error::malformed(
                    file.path(),
                    format!("{architecture}.{key} is missing or no number"),
                )
            },
        )
    };
    let float = |key: &str| optional(key).and_then(Value::as_f64);
    if number("expert_count").is_ok() {
        return Err(Error::unsupported(file.path(), "a mixture of experts"));
    }
    let heads = number("attention.head_count")?;
    let hidden_size = number("embedding_length")?;
    let embedding = file
        .tensors
        .get("token_embd.weight")
        .ok_or_else(|| Error::MissingTensor { name: "token_embd.weight".into() })?;
    let token =
        |key: &str| file.metadata.get(&format!("tokenizer.ggml.{key}")).and_then(Value::as_usize);
    let config = ModelConfig {
        family,
        vocab_size: embedding.shape[0],
        hidden_size,
        intermediate_size: number("feed_forward_length")?,
        num_hidden_layers: number("block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: number("attention.head_count_kv").unwrap_or(heads),
        head_dim: number("attention.key_length").unwrap_or(hidden_size / heads),
        rms_norm_eps: float("attention.layer_norm_rms_epsilon").unwrap_or(1e-6),
        rope_theta: float("rope.freq_base").unwrap_or(10_000.0),
        rope_scaling: scaling(file, &architecture)?,
        max_position_embeddings: number("context_length")?,
        tie_word_embeddings: !file.tensors.contains_key("output.weight"),
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        bos_token_id: token("bos_token_id").map(|id| id as u32),
        eos_token_ids: ends(&file.metadata),
    };
    hf::check(&config).map_err(|what| Error::malformed(file.path(), what))?;
    Ok(config)
}

/// Tokens that end a text. llama.cpp's converter writes as `eos_token_id` what `tokenizer_config.json` calls the
/// `eos_token`; where a turn may end in another token too, that one is `eot_token_id`.
fn ends(metadata: &HashMap<String, Value>) -> Vec<u32> {
    let keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
    let ids = keys.iter().filter_map(|key| metadata.get(*key)?.as_usize());
    let mut ids: Vec<u32> = ids.map(|id| id as u32).collect();
    ids.dedup();
    ids
}

fn scaling(file: &Gguf, architecture: &str) -> Result<RopeScaling, Error> {
    if file.tensors.contains_key("rope_freqs.weight") {
        return Err(Error::unsupported(file.path(), "rope_freqs.weight (Llama 3.1 scaling)"));
    }
    let key = |name: &str| file.metadata.get(&format!("{architecture}.rope.scaling.{name}"));
    match key("type").and_then(Value::as_str).unwrap_or("none") {
        "none" => Ok(RopeScaling::Default),
        "linear" => {
            let factor = key("factor").and_then(Value::as_f64).filter(|f| *f > 0.0);
            let factor = factor.ok_or_else(|| {
                Error::malformed(file.path(), "linear rope scaling has no factor")
            })?;
            Ok(RopeScaling::Linear { factor })
        }
        other => Err(Error::unsupported(file.path(), format!("rope scaling {other:?}"))),
    }
}

/// The GGUF name of an HF tensor.
pub fn gguf_name(hf: &str) -> Option<String> {
    let top = match hf {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(name) = top {
        return Some(name.to_owned());
    }
    let (layer, part) = hf.strip_prefix("model.layers.")?.split_once('.')?;
    let (part, kind) = part.rsplit_once('.')?;
    let part = match part {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{part}.{kind}"))
}

/// A tensor by its HF name, in HF's row order.
pub fn read(file: &Gguf, config: &ModelConfig, hf: &str) -> Result<Vec<f32>, Error> {
    let name = gguf_name(hf).ok_or_else(|| Error::MissingTensor { name: hf.to_owned() })?;
    let values = file.read(&name)?;
    let heads = match config.family {
        Family::Llama if hf.contains("q_proj") => config.num_attention_heads,
        Family::Llama if hf.contains("k_proj") => config.num_key_value_heads,
        _ => return Ok(values),
    };
    Ok(unpermute(&values, heads, config.head_dim))
}

/// Rows of each head from interleaved pairs, as llama's GGUF files have them, to halves, as
/// half-rotation RoPE wants them.
fn unpermute(values: &[f32], heads: usize, head_dim: usize) -> Vec<f32> {
    let width = values.len() / (heads * head_dim);
    let mut out = vec![0f32; values.len()];
    for head in 0..heads {
        for row in 0..head_dim {
            let from = head * head_dim + row;
            let to = head * head_dim + row % 2 * (head_dim / 2) + row / 2;
            out[to * width..(to + 1) * width]
                .copy_from_slice(&values[from * width..(from + 1) * width]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_in_the_files_eos_and_a_turn_in_its_eot_too() {
        let ends = |given: &[(&str, i128)]| {
            let entry = |(key, id): &(&str, i128)| {
                (format!("tokenizer.ggml.{key}_token_id"), Value::Int(*id))
            };
            ends(&given.iter().map(entry).collect())
        };
        assert_eq!(ends(&[("eos", 2), ("bos", 1)]), [2]);
        assert_eq!(ends(&[("eot", 5), ("eos", 2)]), [2, 5]);
        assert_eq!(ends(&[("eot", 2), ("eos", 2)]), [2]);
        assert!(ends(&[]).is_empty());
    }

    #[test]
    fn interleaved_rows_become_halves() {
        let rows: Vec<f32> = (0..8).map(|i| i as f32).collect();
        assert_eq!(unpermute(&rows, 2, 4), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }

    #[test]
    fn names_map_to_gguf() {
        let name = gguf_name("model.layers.3.self_attn.q_proj.bias");
        assert_eq!(name.as_deref(), Some("blk.3.attn_q.bias"));
        assert_eq!(gguf_name("score.weight"), None);
    }
}
