//! The GGUF container (versions 2 and 3): metadata, tensor directory, data.
//!
//! Every count, length and offset is checked against the file's own size before anything is
//! allocated for it, so a lying header costs an error and not the machine's memory.

use super::dequantize::{QuantType, dequantize};
use crate::error::Error;
use memmap2::Mmap;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A metadata value. Numbers are widened; arrays hold values of one kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer, or a boolean as 0 or 1.
    Int(i128),
    /// A float.
    Float(f64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
}

impl Value {
    /// The value as an unsigned number.
    pub fn as_usize(&self) -> Option<usize> {
        match self {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The value as a float.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(n) => Some(*n as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The value as an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(values) => Some(values),
            _ => None,
        }
    }
}

/// Where a tensor's data lies, and what it is.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// Dimensions in row-major order (GGUF stores them reversed).
    pub shape: Vec<usize>,
    /// How values are stored.
    pub quant: QuantType,
    /// Bytes of the file.
    range: std::ops::Range<usize>,
}

/// An opened GGUF file.
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    /// All metadata.
    pub metadata: HashMap<String, Value>,
    /// All tensors by their GGUF names.
    pub tensors: HashMap<String, TensorInfo>,
}

impl Gguf {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// When the file cannot be read or its header is not consistent with its size.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::io(path))?;
        // SAFETY: the map is read-only. A file truncated by someone else while it is mapped would
        // raise a signal; model files are written once and renamed into place.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        let (metadata, tensors) = parse(&map).map_err(|what| Error::malformed(path, what))?;
        Ok(Self { path: path.to_owned(), map, metadata, tensors })
    }

    /// The bytes of the whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A required metadata value.
    pub fn get(&self, key: &str) -> Result<&Value, Error> {
        self.metadata
            .get(key)
            .ok_or_else(|| Error::malformed(&self.path, format!("metadata key {key} is missing")))
    }

    /// A tensor's values in f32.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let info =
            self.tensors.get(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
        Ok(dequantize(info.quant, &self.map[info.range.clone()]))
    }
}

type Parsed = (HashMap<String, Value>, HashMap<String, TensorInfo>);

fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != b"GGUF" {
        return Err("it does not start with GGUF".into());
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        return Err(format!("GGUF version {version}, where 2 and 3 are known"));
    }
    // A tensor's entry takes at least 24 bytes and a metadata entry 13.
    let tensor_count = cursor.count(24)?;
    let metadata_count = cursor.count(13)?;
    let mut metadata = HashMap::with_capacity(metadata_count);
    for _ in 0..metadata_count {
        let key = cursor.string()?;
        let kind = cursor.u32()?;
        let value = cursor.value(kind, 0).map_err(|e| format!("metadata {key}: {e}"))?;
        metadata.insert(key, value);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(value) => value
            .as_usize()
            .filter(|a| a.is_power_of_two() && *a <= 1 << 20)
            .ok_or("general.alignment is not a power of two")?,
    };
    let mut infos = Vec::with_capacity(tensor_count);
    for _ in 0..tensor_count {
        infos.push(cursor.tensor_info()?);
    }
    let data_start = cursor.at.next_multiple_of(alignment);
    let mut tensors = HashMap::with_capacity(tensor_count);
    for (name, shape, quant, offset) in infos {
        let within = |what: &str| format!("tensor {name}: {what}");
        let values = shape
            .iter()
            .try_fold(1usize, |n, d| n.checked_mul(*d))
            .ok_or_else(|| within("its dimensions overflow"))?;
        let row = shape.last().copied().unwrap_or(0);
        if values == 0 || row % quant.block_values() != 0 {
            return Err(within(&format!("a row of {row} values is not whole {quant:?} blocks")));
        }
        let size = values / quant.block_values() * quant.block_bytes();
        let range = usize::try_from(offset)
            .ok()
            .filter(|offset| offset % alignment == 0)
            .and_then(|offset| data_start.checked_add(offset))
            .and_then(|start| Some(start..start.checked_add(size)?))
            .filter(|range| range.end <= bytes.len())
            .ok_or_else(|| within("its data lies outside the file, which may be truncated"))?;
        tensors.insert(name, TensorInfo { shape, quant, range });
    }
    Ok((metadata, tensors))
}

/// Reads little-endian values and never past the end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("the file ends within its header, at {}", self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("take returns the length asked for"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A count of entries of at least `entry_bytes` each: more than the file can hold is a lie.
    fn count(&mut self, entry_bytes: usize) -> Result<usize, String> {
        let count = self.u64()?;
        let most = (self.bytes.len() - self.at) / entry_bytes;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| format!("it claims {count} entries but has room for {most}"))
    }

    fn string(&mut self) -> Result<String, String> {
        let len = self.count(1)?;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| "text that is not UTF-8".into())
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Int(i128::from(u8::from_le_bytes(self.array()?))),
            1 => Value::Int(i128::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Int(i128::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Int(i128::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Int(i128::from(self.u32()?)),
            5 => Value::Int(i128::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Int(i128::from(u8::from_le_bytes(self.array()?) != 0)),
            8 => Value::String(self.string()?),
            9 if depth >= 2 => return Err("arrays nested too deeply".into()),
            9 => {
                let kind = self.u32()?;
                let smallest = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    4..=6 => 4,
                    9 => 12,
                    _ => 8,
                };
                let len = self.count(smallest)?;
                Value::Array(
                    (0..len).map(|_| self.value(kind, depth + 1)).collect::<Result<_, _>>()?,
                )
            }
            10 => Value::Int(i128::from(self.u64()?)),
            11 => Value::Int(i128::from(i64::from_le_bytes(self.array()?))),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(format!("unknown value type {kind}")),
        })
    }

    fn tensor_info(&mut self) -> Result<(String, Vec<usize>, QuantType, u64), String> {
        let name = self.string()?;
        let dims = self.u32()? as usize;
        if !(1..=4).contains(&dims) {
            return Err(format!("tensor {name} has {dims} dimensions"));
        }
        let mut shape = Vec::with_capacity(dims);
        for _ in 0..dims {
            let dim = self.u64()?;
            shape.push(usize::try_from(dim).map_err(|_| format!("tensor {name} is {dim} wide"))?);
        }
        shape.reverse();
        let kind = self.u32()?;
        let quant = QuantType::from_ggml(kind)
            .ok_or_else(|| format!("tensor {name} has unsupported type {kind}"))?;
        Ok((name, shape, quant, self.u64()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one key and one 1x32 f32 tensor.
    fn small_file() -> Vec<u8> {
        let mut file = Vec::new();
        file.extend(b"GGUF");
        file.extend(3u32.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(b"k");
        file.extend(4u32.to_le_bytes());
        file.extend(7u32.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(b"t");
        file.extend(2u32.to_le_bytes());
        file.extend(32u64.to_le_bytes());
        file.extend(1u64.to_le_bytes());
        file.extend(0u32.to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.resize(file.len().next_multiple_of(32), 0);
        for i in 0..32 {
            file.extend((i as f32).to_le_bytes());
        }
        file
    }

    #[test]
    fn reads_metadata_and_tensors_in_row_major_order() {
        let (metadata, tensors) = parse(&small_file()).unwrap();
        assert_eq!(metadata["k"], Value::Int(7));
        assert_eq!(tensors["t"].shape, [1, 32]);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let file = small_file();
        for len in 0..file.len() {
            assert!(parse(&file[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_lying_header_is_refused_before_memory_is_taken_for_it() {
        let file = small_file();
        // Tensor count, metadata count, key length, tensor name length, a dimension, the offset.
        for at in [8, 16, 24, 41, 54, 74] {
            for lie in [u64::MAX, u64::MAX / 2, 1 << 40] {
                let mut lying = file.clone();
                lying[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                assert!(parse(&lying).is_err(), "byte {at} = {lie}");
            }
        }
        let mut dims = file.clone();
        dims[50..54].copy_from_slice(&(1u32 << 31).to_le_bytes());
        assert!(parse(&dims).is_err());
    }
}
