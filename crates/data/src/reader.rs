//! JSONL, one record at a time.

use crate::Error;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// One line: a JSON object with its fields in their order.
pub type Record = Map<String, Value>;

/// Longest line accepted: a file without line ends must not fill the memory.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Records of a file or of standard input. Blank lines are skipped.
pub struct Reader {
    name: String,
    input: Box<dyn BufRead + Send>,
    line: usize,
}

impl Reader {
    /// Opens `path`; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            return Ok(Self::new("<stdin>", BufReader::new(std::io::stdin())));
        }
        let file = File::open(path).map_err(Error::io(path))?;
        Ok(Self::new(path.display().to_string(), BufReader::new(file)))
    }

    /// Reads from anything; `name` stands in messages.
    pub fn new(name: impl Into<String>, input: impl BufRead + Send + 'static) -> Self {
        Self { name: name.into(), input: Box::new(input), line: 0 }
    }

    /// An error about the line read last.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::Line { source_name: self.name.clone(), line: self.line, what: what.into() }
    }

    /// All records, each through `f`, whose complaints get the line's number.
    ///
    /// # Errors
    /// At the first line that is not a JSON object or that `f` refuses.
    pub fn read_all<T>(
        mut self,
        mut f: impl FnMut(Record) -> Result<T, String>,
    ) -> Result<Vec<T>, Error> {
        let mut out = Vec::new();
        while let Some(record) = self.next_record()? {
            out.push(f(record).map_err(|what| self.error(what))?);
        }
        Ok(out)
    }

    /// The next record, none at the end.
    ///
    /// # Errors
    /// When a line is too long, not UTF-8, or not a JSON object.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        loop {
            self.line += 1;
            let mut bytes = Vec::new();
            let read = (&mut self.input).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
            if read.map_err(|e| self.error(e.to_string()))? == 0 {
                return Ok(None);
            }
            if bytes.len() as u64 > MAX_LINE_BYTES {
                return Err(self.error(format!("the line is longer than {MAX_LINE_BYTES} bytes")));
            }
            let text = std::str::from_utf8(&bytes)
                .map_err(|e| self.error(format!("not UTF-8 at byte {}", e.valid_up_to())))?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_str(text) {
                Ok(Value::Object(record)) => Ok(Some(record)),
                Ok(_) => Err(self.error("expected a JSON object, such as {\"prompt\": \"...\"}")),
                Err(e) => Err(self.error(format!("not valid JSON: {e}"))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static [u8]) -> Result<Vec<Record>, Error> {
        Reader::new("test.jsonl", text).read_all(Ok)
    }

    #[test]
    fn blank_lines_and_a_byte_order_mark_are_skipped() {
        assert_eq!(read("\u{feff}{\"a\":1}\n\n {\"a\":2}".as_bytes()).unwrap().len(), 2);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [(&b"{}\n{\"a\": \n"[..], 2), (b"{}\n\n[1]\n", 3), (b"\xff\xfe\n", 1)] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("test.jsonl:{line}: ")), "{error}");
        }
    }
}
