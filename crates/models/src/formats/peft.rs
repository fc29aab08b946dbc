//! LoRA adapters as PEFT keeps them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! An adapter is read to be folded into the weights of its base. Settings that change what the numbers
//! mean are honoured exactly or refused by name, also those that PEFT may still invent.

use super::hf::{NamedTensor, write_json, write_weights};
use super::safetensors::Shards;
use crate::checkpoint::TensorSource;
use crate::error::Error;
use crate::folder::replace_folder;
use crate::kernels::cpu::linear::matmul;
use rlaif_types::LoraConfig;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Stands before the HF name of a layer.
const PREFIX: &str = "base_model.model.";

/// Settings that are read below, or say nothing of the numbers: how the adapter was trained and by what, and
/// which layers have one, which its tensors say too.
const UNDERSTOOD: [&str; 18] = [
    "base_model_name_or_path",
    "revision",
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "bias",
    "init_lora_weights",
    "task_type",
    "auto_mapping",
    "peft_version",
    "inference_mode",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "runtime_config",
];

/// Settings of something that is itself off while its own switch is.
const OF_A_SWITCH: [&str; 2] = ["megatron_core", "qalora_group_size"];

/// Ways of drawing an adapter that leave the base as it was.
const INITS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// The model that an adapter was trained beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// As the adapter names it: a path, or `owner/name` of the hub.
    pub name: String,
    /// Which of the hub's revisions, where it says so.
    pub revision: Option<String>,
}

/// An adapter on disk, opened and checked.
pub struct Adapter {
    /// What it belongs to.
    pub base: Base,
    rank: usize,
    scale: f32,
    tensors: Shards,
    path: PathBuf,
}

/// True of a folder with an adapter and no model.
pub fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && !folder.join("config.json").exists()
}

impl Adapter {
    /// Opens an adapter's folder.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the adapter is of a kind that is not supported.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CONFIG);
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let config: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|e| Error::malformed(&path, format!("not a JSON object: {e}")))?;
        let (base, rank, scale) = parse(&config, &path)?;
        let path = folder.join(WEIGHTS);
        if !path.exists() && folder.join("adapter_model.bin").exists() {
            return Err(Error::unsupported(folder, "adapter_model.bin, which is pickled,"));
        }
        Ok(Self { base, rank, scale, tensors: Shards::of(path.clone())?, path })
    }

    /// Checks that every tensor is a factor of a layer of `base`, of the right shape, and that none is
    /// without the other.
    pub(crate) fn check(&self, base: &dyn TensorSource) -> Result<(), Error> {
        for name in self.tensors.names() {
            let factor = name.strip_prefix(PREFIX).and_then(|name| {
                let name = name.strip_suffix(".weight")?;
                name.strip_suffix(".lora_A").or(name.strip_suffix(".lora_B"))
            });
            let shape = factor.and_then(|layer| base.shape(&format!("{layer}.weight")));
            let (Some(layer), Some([out, input])) = (factor, shape.as_deref()) else {
                let what = format!("tensor {name}, which is no factor of a layer of its base,");
                return Err(Error::unsupported(&self.path, what));
            };
            let [a, b] = factors(layer);
            for (name, expected) in [(a, vec![self.rank, *input]), (b, vec![*out, self.rank])] {
                match self.tensors.shape(&name) {
                    Some(found) if *found == expected => {}
                    Some(found) => {
                        let found = found.to_vec();
                        return Err(Error::WrongShape { name, expected, found });
                    }
                    None => return Err(Error::MissingTensor { name }),
                }
            }
        }
        Ok(())
    }

    /// Adds the update `scale · B A` of the weight `name`, where it has one.
    pub(crate) fn fold_into(&self, name: &str, weight: &mut [f32]) -> Result<(), Error> {
        let Some(layer) = name.strip_suffix(".weight") else { return Ok(()) };
        let [a, b] = factors(layer);
        let (Some(&[_, input]), Some(&[out, _])) = (self.tensors.shape(&a), self.tensors.shape(&b))
        else {
            return Ok(());
        };
        let (a, b) = (self.tensors.read(&a)?, self.tensors.read(&b)?);
        let update = matmul(&b, &a, out, self.rank, input);
        weight.iter_mut().zip(update).for_each(|(w, u)| *w += u * self.scale);
        Ok(())
    }

    /// The bytes of its weights, for hashing.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.tensors.bytes()
    }

    /// What updates are multiplied by.
    pub(crate) fn scale(&self) -> f32 {
        self.scale
    }
}

/// Names of A and B of a layer.
fn factors(layer: &str) -> [String; 2] {
    ["A", "B"].map(|factor| format!("{PREFIX}{layer}.lora_{factor}.weight"))
}

/// Base, rank and scale.
fn parse(config: &Map<String, Value>, path: &Path) -> Result<(Base, usize, f32), Error> {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let refused = |key: &str, value: &Value| Error::unsupported(path, format!("{key} = {value}"));
    for (key, value) in config {
        let accepted = match key.as_str() {
            "peft_type" => value == "LORA",
            "bias" => value == "none",
            "init_lora_weights" => match value.as_str() {
                Some(init) => INITS.contains(&init),
                None => value.is_boolean() || value.is_null(),
            },
            known if UNDERSTOOD.contains(&known) || OF_A_SWITCH.contains(&known) => true,
            _ => is_off(value),
        };
        if !accepted {
            return Err(refused(key, value));
        }
    }
    let missing = |key: &str| Error::malformed(path, format!("{key} is missing or no number"));
    let rank = config.get("r").and_then(Value::as_u64).filter(|r| (1..1 << 20).contains(r));
    let rank = rank.ok_or_else(|| missing("r"))? as usize;
    let alpha = config.get("lora_alpha").and_then(Value::as_f64);
    let alpha = alpha.filter(|a| a.is_finite()).ok_or_else(|| missing("lora_alpha"))?;
    let by_root = config.get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
    let divisor = if by_root { (rank as f64).sqrt() } else { rank as f64 };
    let name = text("base_model_name_or_path").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        Error::malformed(path, "base_model_name_or_path is missing; name the model it belongs to")
    })?;
    let revision = text("revision").map(str::to_owned);
    Ok((Base { name: name.to_owned(), revision }, rank, (alpha / divisor) as f32))
}

/// True of a setting that asks for nothing.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A base's tensors with an adapter folded in.
pub(crate) struct Adapted {
    pub(crate) base: Box<dyn TensorSource>,
    pub(crate) adapter: Adapter,
}

impl TensorSource for Adapted {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.base.shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let mut weight = self.base.read(name)?;
        self.adapter.fold_into(name, &mut weight)?;
        Ok(weight)
    }
}

/// Writes the factors of an adapter, named by their layers (`model.layers.0.mlp.up_proj.lora_A.weight`), as
/// a folder that PEFT loads onto `base`.
///
/// # Errors
/// When writing fails; a folder that was there before is intact.
pub fn save(
    folder: &Path,
    base: &Base,
    lora: &LoraConfig,
    factors: Vec<NamedTensor>,
) -> Result<(), Error> {
    let factors: Vec<NamedTensor> = factors
        .into_iter()
        .map(|(name, shape, values)| (format!("{PREFIX}{name}"), shape, values))
        .collect();
    // PEFT declares a whole number.
    let alpha = match lora.alpha.fract() {
        0.0 => json!(lora.alpha as i64),
        _ => json!(lora.alpha),
    };
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "r": lora.rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "target_modules": lora.targets,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "use_rslora": false,
        "use_dora": false,
        "modules_to_save": null,
        "inference_mode": true,
    });
    replace_folder(folder, |folder| {
        write_json(&folder.join(CONFIG), &config)?;
        write_weights(&folder.join(WEIGHTS), &factors)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Value {
        json!({"peft_type": "LORA", "base_model_name_or_path": "owner/name", "revision": "v1", "r": 4,
               "lora_alpha": 8, "bias": "none", "use_dora": false, "modules_to_save": null,
               "rank_pattern": {}, "megatron_core": "megatron.core", "layer_replication": null,
               "init_lora_weights": true, "lora_dropout": 0.1, "target_modules": ["q_proj"]})
    }

    fn parsed(config: &Value) -> Result<(Base, usize, f32), Error> {
        parse(config.as_object().unwrap(), Path::new(CONFIG))
    }

    #[test]
    fn an_update_is_scaled_by_alpha_over_the_rank_or_over_its_root() {
        let (base, rank, scale) = parsed(&config()).unwrap();
        assert_eq!((base.name.as_str(), base.revision.as_deref()), ("owner/name", Some("v1")));
        assert_eq!((rank, scale), (4, 2.0));
        let mut by_root = config();
        by_root["use_rslora"] = json!(true);
        assert_eq!(parsed(&by_root).unwrap().2, 4.0);
    }

    #[test]
    fn what_would_be_computed_wrongly_is_refused_by_name() {
        for (key, value) in [
            ("use_dora", json!(true)),
            ("bias", json!("all")),
            ("modules_to_save", json!(["score"])),
            ("rank_pattern", json!({"q_proj": 8})),
            ("fan_in_fan_out", json!(true)),
            ("init_lora_weights", json!("pissa")),
            ("layer_replication", json!([[0, 4]])),
            ("peft_type", json!("IA3")),
            ("a_setting_of_tomorrow", json!("on")),
            ("r", json!(0)),
            ("base_model_name_or_path", json!("")),
        ] {
            let mut config = config();
            config[key] = value;
            let error = parsed(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("{key} ")), "{key}: {error}");
        }
    }
}
