//! A model on disk, opened and checked: configuration, tokenizer, chat template, weights.

use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::error::Error;
use crate::formats::gguf::{Gguf, Value};
use crate::formats::peft::{Adapted, Adapter, Base, is_adapter};
use crate::formats::safetensors::Shards;
use crate::formats::{gguf_model, gguf_tokenizer, hf};
use crate::tokenizer::Tokenizer;
use rlaif_types::{ContentHash, Hasher};
use std::path::{Path, PathBuf};

/// Tensors by HF name, read on demand.
pub trait TensorSource: Send + Sync {
    /// Shape in row-major order; none where there is no such tensor.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// Values in f32.
    ///
    /// # Errors
    /// When there is no such tensor.
    fn read(&self, name: &str) -> Result<Vec<f32>, Error>;
}

/// An opened model. Weights are still on disk.
pub struct Checkpoint {
    /// Name for people: the folder's or file's.
    pub name: String,
    /// Shape and switches.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, where it has one.
    pub chat_template: Option<ChatTemplate>,
    /// Its weights.
    pub tensors: Box<dyn TensorSource>,
    /// Hash of weights, configuration, tokenizer and chat template: of all that decides an answer.
    pub hash: ContentHash,
}

impl Checkpoint {
    /// Opens a `.gguf` file, a folder with `config.json`, safetensors and `tokenizer.json`, or an adapter of
    /// PEFT whose base lies where it says.
    ///
    /// Every tensor the architecture needs is known to be there, with the right shape, afterwards.
    ///
    /// # Errors
    /// When anything is missing, damaged, or not supported.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let as_a_path = |base: &Base| match Path::new(&base.name) {
            path if path.exists() => Ok(path.to_owned()),
            _ => Err("no such folder or file".to_owned()),
        };
        Self::open_with(path, &as_a_path)
    }

    /// As [`Checkpoint::open`]; `find` says where the base of an adapter lies, or why it cannot.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and when the base is not found.
    pub fn open_with(
        path: &Path,
        find: &dyn Fn(&Base) -> Result<PathBuf, String>,
    ) -> Result<Self, Error> {
        if is_adapter(path) {
            return open_adapter(path, find);
        }
        let checkpoint = if path.extension().is_some_and(|e| e == "gguf") {
            open_gguf(path)?
        } else if path.is_dir() {
            open_folder(path)?
        } else {
            return Err(Error::UnknownModel {
                spec: path.display().to_string(),
                hint: "expected a folder with config.json, or a .gguf file".into(),
            });
        };
        checkpoint.check(path)?;
        Ok(checkpoint)
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        for (name, expected) in expected_tensors(&self.config) {
            match self.tensors.shape(&name) {
                Some(found) if found == expected => {}
                // A reward model has a score in place of a vocabulary.
                None if name == "lm_head.weight"
                    && self.tensors.shape("score.weight").is_some() => {}
                None => return Err(Error::MissingTensor { name }),
                Some(found) => return Err(Error::WrongShape { name, expected, found }),
            }
        }
        let (tokens, rows) = (self.tokenizer.vocab_size(), self.config.vocab_size);
        if tokens > rows {
            let what = format!(
                "its tokenizer has {tokens} tokens but the embedding {rows} rows: a tokenizer of \
                 another model?"
            );
            return Err(Error::malformed(path, what));
        }
        Ok(())
    }
}

/// Names and shapes of the tensors an architecture needs.
pub(crate) fn expected_tensors(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.q_size(), config.kv_size());
    let mut expected = vec![
        ("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, d]),
        ("model.norm.weight".to_owned(), vec![d]),
    ];
    if !config.tie_word_embeddings {
        expected.push(("lm_head.weight".to_owned(), vec![config.vocab_size, d]));
    }
    for layer in 0..config.num_hidden_layers {
        let mut add = |part: &str, shape: Vec<usize>| {
            expected.push((format!("model.layers.{layer}.{part}"), shape));
        };
        add("input_layernorm.weight", vec![d]);
        add("post_attention_layernorm.weight", vec![d]);
        for (part, out) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
            add(&format!("self_attn.{part}.weight"), vec![out, d]);
            if config.qkv_bias {
                add(&format!("self_attn.{part}.bias"), vec![out]);
            }
        }
        add("self_attn.o_proj.weight", vec![d, q]);
        if config.qk_norm {
            add("self_attn.q_norm.weight", vec![config.head_dim]);
            add("self_attn.k_norm.weight", vec![config.head_dim]);
        }
        add("mlp.gate_proj.weight", vec![f, d]);
        add("mlp.up_proj.weight", vec![f, d]);
        add("mlp.down_proj.weight", vec![d, f]);
    }
    expected
}

fn name_of(path: &Path) -> String {
    let name = path.file_stem().filter(|_| path.is_file()).or(path.file_name());
    name.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

struct GgufSource {
    file: Gguf,
    config: ModelConfig,
}

impl TensorSource for GgufSource {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let info = self.file.tensors.get(&gguf_model::gguf_name(name)?)?;
        Some(info.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        gguf_model::read(&self.file, &self.config, name)
    }
}

fn open_gguf(path: &Path) -> Result<Checkpoint, Error> {
    let file = Gguf::open(path)?;
    let config = gguf_model::config(&file)?;
    let (inner, adds_bos) = (gguf_tokenizer::build(&file)?, gguf_tokenizer::adds_bos(&file));
    let eos_ids = config.eos_token_ids.clone();
    let tokenizer = Tokenizer::new(inner, config.bos_token_id, eos_ids, Some(adds_bos));
    let template = file.metadata.get("tokenizer.chat_template").and_then(Value::as_str);
    let chat_template = template.map(|t| chat_template(t, &tokenizer)).transpose()?;
    // The template is in the file.
    let mut hasher = Hasher::new();
    hasher.bytes(file.bytes());
    tokenizer.hash_start(&mut hasher);
    Ok(Checkpoint {
        name: name_of(path),
        hash: hasher.finish(),
        tokenizer,
        chat_template,
        tensors: Box::new(GgufSource { file, config: config.clone() }),
        config,
    })
}

fn chat_template(source: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate, Error> {
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
    let (bos, eos) = (text(tokenizer.bos_id()), text(tokenizer.eos_ids().first().copied()));
    ChatTemplate::new(source.to_owned(), bos, eos)
}

impl TensorSource for Shards {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        Shards::shape(self, name).map(<[usize]>::to_vec)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        Shards::read(self, name)
    }
}

fn open_folder(path: &Path) -> Result<Checkpoint, Error> {
    let mut config = hf::read_config(path)?;
    let shards = Shards::open(path)?;
    let settings = tokenizer_config(path)?;
    let mut tokenizer = Tokenizer::from_file(
        &path.join("tokenizer.json"),
        config.bos_token_id,
        config.eos_token_ids.clone(),
        settings["add_bos_token"].as_bool(),
    )?;
    // Several tokens may end a text, in no order that says more: Llama 3's instruct models name `<|end_of_text|>`
    // first and end their turns with `<|eot_id|>`, which is their `eos_token`.
    if let Some(id) = eos_token(&settings).and_then(|token| tokenizer.token_id(token)) {
        tokenizer = tokenizer.ending_with(id);
        config.eos_token_ids = tokenizer.eos_ids().to_vec();
    }
    let chat_template =
        folder_template(path)?.map(|source| chat_template(&source, &tokenizer)).transpose()?;
    let mut hasher = Hasher::new();
    for bytes in shards.bytes() {
        hasher.field(bytes);
    }
    hasher.field(serde_json::to_vec(&config).expect("plain numbers serialise"));
    hasher.field(tokenizer.to_json());
    tokenizer.hash_start(&mut hasher);
    // A model without a template keeps the hash that it had when templates were no part of it.
    if let Some(template) = &chat_template {
        template.hash_into(&mut hasher);
    }
    Ok(Checkpoint {
        name: name_of(path),
        hash: hasher.finish(),
        tokenizer,
        chat_template,
        tensors: Box::new(shards),
        config,
    })
}

/// The base with the adapter folded in, which is then a model like another.
fn open_adapter(
    folder: &Path,
    find: &dyn Fn(&Base) -> Result<PathBuf, String>,
) -> Result<Checkpoint, Error> {
    let adapter = Adapter::open(folder)?;
    // A base that is named by a path may have moved together with its adapter.
    let beside = folder.join(&adapter.base.name);
    let path = match beside.exists() {
        true => beside,
        false => find(&adapter.base).map_err(|hint| Error::UnknownModel {
            spec: adapter.base.name.clone(),
            hint: format!("it is the base of the adapter in {}: {hint}", folder.display()),
        })?,
    };
    if is_adapter(&path) {
        return Err(Error::unsupported(&path, "an adapter as another one's base"));
    }
    let base = Checkpoint::open(&path)?;
    adapter.check(base.tensors.as_ref())?;
    let own_template = folder_template(folder)?;
    let own_template = own_template.map(|source| chat_template(&source, &base.tokenizer));
    let own_template = own_template.transpose()?;
    let mut hasher = Hasher::new();
    hasher.field(base.hash.to_string());
    hasher.field(adapter.scale().to_le_bytes());
    for bytes in adapter.bytes() {
        hasher.field(bytes);
    }
    // The base's is in the base's hash.
    if let Some(template) = &own_template {
        template.hash_into(&mut hasher);
    }
    Ok(Checkpoint {
        name: name_of(folder),
        hash: hasher.finish(),
        chat_template: own_template.or(base.chat_template),
        tensors: Box::new(Adapted { base: base.tensors, adapter }),
        ..base
    })
}

/// The template in `chat_template.jinja`, or in `tokenizer_config.json`.
fn folder_template(folder: &Path) -> Result<Option<String>, Error> {
    let file = folder.join("chat_template.jinja");
    if file.exists() {
        return std::fs::read_to_string(&file).map(Some).map_err(Error::io(&file));
    }
    Ok(tokenizer_config(folder)?["chat_template"].as_str().map(str::to_owned))
}

/// What `tokenizer_config.json` calls the token that a text is ended with: its text, or an object that holds it.
fn eos_token(settings: &serde_json::Value) -> Option<&str> {
    let token = &settings["eos_token"];
    token.as_str().or(token["content"].as_str())
}

/// What `tokenizer_config.json` says; null where there is none.
fn tokenizer_config(folder: &Path) -> Result<serde_json::Value, Error> {
    let file = folder.join("tokenizer_config.json");
    if !file.exists() {
        return Ok(serde_json::Value::Null);
    }
    let text = std::fs::read(&file).map_err(Error::io(&file))?;
    serde_json::from_slice(&text).map_err(|e| Error::malformed(&file, format!("not JSON: {e}")))
}
