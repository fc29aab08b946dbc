//! Records of a dataset, one at a time, whatever they come wrapped in.

use crate::Error;
use crate::container::{self, Container, Fault, Lines};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// One record: a JSON object with its fields in their order.
pub type Record = Map<String, Value>;

/// Records of a file or of standard input.
///
/// Reads JSONL, a JSON array of objects, either of them in gzip (also several members one after the
/// other), and Parquet. Memory does not grow with the number of records: one record of text, or one
/// page of each column, is held at a time.
pub struct Reader {
    name: String,
    input: Box<dyn Container>,
}

impl Reader {
    /// Opens `path`, whose container is told by its first bytes; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened, or is Parquet without a sound footer.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path == Path::new("-") {
            let input = container::detect(BufReader::new(io::stdin())).map_err(Error::io(path))?;
            return Ok(Self { name: "<stdin>".into(), input });
        }
        let input = File::open(path).and_then(container::open).map_err(Error::io(path))?;
        Ok(Self { name: path.display().to_string(), input })
    }

    /// Reads JSONL from anything; `name` stands in messages.
    pub fn new(name: impl Into<String>, input: impl BufRead + Send + 'static) -> Self {
        Self { name: name.into(), input: Box::new(Lines::new(input)) }
    }

    /// An error about the record read last.
    pub fn error(&self, what: impl Into<String>) -> Error {
        let (source_name, line) = (self.name.clone(), self.input.position());
        Error::Line { source_name, line, what: what.into() }
    }

    /// All records, each through `f`, whose complaints get the line's number.
    ///
    /// # Errors
    /// At the first record that is not a JSON object or that `f` refuses.
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
    /// [`Error::Line`] when a record is too long, not UTF-8, or not a JSON object; the one after it
    /// can be asked for. [`Error::Io`] when the input breaks off.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        self.input.next_record().map_err(|fault| match fault {
            Fault::Record(what) => self.error(what),
            Fault::Input(source) => {
                let what = format!("at line or row {}: {source}", self.input.position());
                let source = io::Error::new(source.kind(), what);
                Error::Io { path: PathBuf::from(&self.name), source }
            }
        })
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
