//! JSONL: one object a line; blank lines are skipped.

use super::{Container, Fault, MAX_RECORD_BYTES, parse};
use crate::Record;
use std::io::{self, BufRead, Read};

/// The lines of `input`.
pub(crate) struct Lines<R> {
    input: R,
    line: usize,
}

impl<R: BufRead> Lines<R> {
    /// Begins at line 1.
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: 0 }
    }

    /// The next line without its end; none at the end of the input.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        self.line += 1;
        let mut bytes = Vec::new();
        let bound = MAX_RECORD_BYTES as u64 + 1;
        if (&mut self.input).take(bound).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        if bytes.len() > MAX_RECORD_BYTES {
            self.skip_line()?;
            let what = format!("the line is longer than {MAX_RECORD_BYTES} bytes");
            return Err(Fault::Record(what));
        }
        Ok(Some(bytes))
    }

    /// Drops what is left of the line.
    fn skip_line(&mut self) -> io::Result<()> {
        self.input.skip_until(b'\n').map(drop)
    }
}

impl<R: BufRead + Send> Container for Lines<R> {
    fn next_record(&mut self) -> Result<Option<Record>, Fault> {
        while let Some(line) = self.next_line()? {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if !line.is_empty() {
                return parse(line).map(Some);
            }
        }
        Ok(None)
    }

    fn position(&self) -> usize {
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_refused_and_the_next_is_read() {
        let mut text = format!("{{\"a\":\"{}\"}}\n", "x".repeat(MAX_RECORD_BYTES)).into_bytes();
        text.extend(b"{\"a\":1}\n");
        let mut lines = Lines::new(&text[..]);
        assert!(matches!(lines.next_record(), Err(Fault::Record(what)) if what.contains("longer")));
        assert_eq!(lines.next_record().unwrap().unwrap()["a"], 1);
        assert_eq!(lines.position(), 2);
    }
}
