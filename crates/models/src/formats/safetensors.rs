//! Weights in safetensors, in one file or in shards.

use crate::error::Error;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// One or several safetensors files that hold one model.
pub struct Shards {
    files: Vec<(PathBuf, Mmap)>,
    /// Tensor name to file, shape, type and bytes.
    tensors: HashMap<String, Entry>,
}

struct Entry {
    file: usize,
    shape: Vec<usize>,
    dtype: Dtype,
    range: std::ops::Range<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// When a file is missing, or a header does not agree with its file's size.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        let paths = if single.exists() || !index.exists() {
            vec![single]
        } else {
            shard_paths(folder, &index)?
        };
        let mut shards = Self { files: Vec::new(), tensors: HashMap::new() };
        for path in paths {
            shards.add(path)?;
        }
        Ok(shards)
    }

    /// Opens one file.
    ///
    /// # Errors
    /// As [`Shards::open`].
    pub fn of(file: PathBuf) -> Result<Self, Error> {
        let mut shards = Self { files: Vec::new(), tensors: HashMap::new() };
        shards.add(file)?;
        Ok(shards)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), Error> {
        let file = File::open(&path).map_err(Error::io(&path))?;
        // SAFETY: read-only map of a file that is written once and renamed into place.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        // The crate checks the header's length, and that tensors tile the data exactly.
        let parsed = SafeTensors::deserialize(&map)
            .map_err(|e| Error::malformed(&path, format!("safetensors header: {e}")))?;
        for (name, view) in parsed.tensors() {
            if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                let what = format!("tensor {name} of type {:?}", view.dtype());
                return Err(Error::unsupported(&path, what));
            }
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            let entry = Entry {
                file: self.files.len(),
                shape: view.shape().to_vec(),
                dtype: view.dtype(),
                range: start..start + view.data().len(),
            };
            if self.tensors.insert(name.clone(), entry).is_some() {
                return Err(Error::malformed(&path, format!("tensor {name} is in two shards")));
            }
        }
        self.files.push((path, map));
        Ok(())
    }

    /// Names of all tensors.
    pub fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The bytes of every file, for hashing.
    pub fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.files.iter().map(|(_, map)| &map[..])
    }

    /// A tensor's values in f32.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let entry =
            self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
        let bytes = &self.files[entry.file].1[entry.range.clone()];
        use super::dequantize::{QuantType, dequantize};
        let quant = match entry.dtype {
            Dtype::F16 => QuantType::F16,
            Dtype::BF16 => QuantType::Bf16,
            _ => QuantType::F32,
        };
        Ok(dequantize(quant, bytes))
    }
}

/// The distinct shards of an index. Names that would leave the folder are refused.
fn shard_paths(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, Error> {
    let text = std::fs::read(index).map_err(Error::io(index))?;
    let parsed: Index = serde_json::from_slice(&text)
        .map_err(|e| Error::malformed(index, format!("not a shard index: {e}")))?;
    let mut names: Vec<String> = parsed.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| match Path::new(&name).components().collect::<Vec<_>>().as_slice() {
            [std::path::Component::Normal(file)] => Ok(folder.join(file)),
            _ => Err(Error::malformed(index, format!("shard {name:?} is not a plain file name"))),
        })
        .collect()
}
