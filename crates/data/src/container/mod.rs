//! What records come wrapped in: lines, a JSON array, gzip around either, Parquet. Told apart by the
//! first bytes, not by the name.

mod array;
mod lines;
mod parquet_file;
mod parquet_writer;

pub(crate) use lines::Lines;
pub(crate) use parquet_writer::{Column, Kind, ParquetWriter};

use crate::Record;
use array::Array;
use flate2::bufread::MultiGzDecoder;
use parquet_file::ParquetFile;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader};

/// Longest record accepted: a file without line ends must not fill the memory.
pub(crate) const MAX_RECORD_BYTES: usize = 16 << 20;

/// Why a record did not come.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This record is bad; the next can be asked for.
    Record(String),
    /// The input cannot be read on.
    Input(io::Error),
}

impl Fault {
    /// The input itself is broken.
    pub(crate) fn broken(what: impl Into<String>) -> Self {
        Self::Input(io::Error::new(io::ErrorKind::InvalidData, what.into()))
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Input(error)
    }
}

/// A source of records.
pub(crate) trait Container: Send {
    /// The next record, none at the end.
    fn next_record(&mut self) -> Result<Option<Record>, Fault>;

    /// Line or row, from 1, of the record asked for last.
    fn position(&self) -> usize;
}

/// The records of a file.
pub(crate) fn open(file: File) -> io::Result<Box<dyn Container>> {
    let mut input = BufReader::new(file);
    if input.fill_buf()?.starts_with(b"PAR1") {
        return Ok(Box::new(ParquetFile::open(input.into_inner())?));
    }
    detect(input)
}

/// The records of a stream, which is read once.
pub(crate) fn detect(mut input: impl BufRead + Send + 'static) -> io::Result<Box<dyn Container>> {
    // No text of JSON begins with either byte, so one is enough where a pipe gives no more.
    match input.fill_buf()?.first() {
        Some(0x1f) => text(BufReader::new(MultiGzDecoder::new(input))),
        Some(b'P') => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "Parquet is read from its end, so not from a pipe or from gzip; give it as a file",
        )),
        _ => text(input),
    }
}

fn text(mut input: impl BufRead + Send + 'static) -> io::Result<Box<dyn Container>> {
    let begin = input.fill_buf()?;
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    let is_array = begin.trim_ascii_start().first() == Some(&b'[');
    Ok(if is_array { Box::new(Array::new(input)) } else { Box::new(Lines::new(input)) })
}

/// The object that `bytes` hold.
fn parse(bytes: &[u8]) -> Result<Record, Fault> {
    let bad = |what: String| Fault::Record(what);
    let text = std::str::from_utf8(bytes)
        .map_err(|e| bad(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
    match serde_json::from_str(text) {
        Ok(Value::Object(record)) => Ok(record),
        Ok(_) => Err(bad("expected a JSON object, such as {\"prompt\": \"...\"}".into())),
        Err(e) => Err(bad(format!("not valid JSON: {e}"))),
    }
}
