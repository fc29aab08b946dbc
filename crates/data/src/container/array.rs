//! A JSON array of objects, one element in memory at a time: AlpacaEval's files.

use super::{Container, Fault, MAX_RECORD_BYTES, parse};
use crate::Record;
use std::io::{self, BufRead};

/// What comes next.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Begin,
    First,
    Next,
    End,
}

/// The elements of the array that `input` holds.
pub(super) struct Array<R> {
    input: R,
    place: Place,
    /// Line that is being read, and that on which the element asked for last begins.
    line: usize,
    element_line: usize,
}

impl<R: BufRead> Array<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, place: Place::Begin, line: 1, element_line: 1 }
    }

    /// The next byte that is not blank, left where it is.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let Some(&byte) = self.input.fill_buf()?.first() else { return Ok(None) };
            // A byte order mark is blank too: its bytes begin nothing in JSON.
            if !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf) {
                return Ok(Some(byte));
            }
            self.line += usize::from(byte == b'\n');
            self.input.consume(1);
        }
    }

    /// Takes the next byte that is not blank, which must be one of `expected`.
    fn take(&mut self, expected: &[u8]) -> Result<u8, Fault> {
        match self.peek()? {
            Some(byte) if expected.contains(&byte) => {
                self.input.consume(1);
                Ok(byte)
            }
            Some(byte) => Err(Fault::broken(format!(
                "expected one of {:?} in the array, not {:?}",
                expected.iter().map(|&b| char::from(b)).collect::<String>(),
                char::from(byte)
            ))),
            None => Err(ended()),
        }
    }

    /// The bytes of an object, from its opening to its closing brace.
    fn object(&mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut nesting = Nesting::default();
        loop {
            let part = self.input.fill_buf()?;
            if part.is_empty() {
                return Err(ended());
            }
            let end = part.iter().position(|&byte| nesting.closes(byte)).map(|last| last + 1);
            let part = &part[..end.unwrap_or(part.len())];
            if bytes.len() + part.len() > MAX_RECORD_BYTES {
                let what = format!("an element is longer than {MAX_RECORD_BYTES} bytes");
                return Err(Fault::broken(what));
            }
            self.line += part.iter().filter(|&&byte| byte == b'\n').count();
            bytes.extend_from_slice(part);
            let length = part.len();
            self.input.consume(length);
            if end.is_some() {
                return Ok(bytes);
            }
        }
    }

    fn next_object(&mut self) -> Result<Option<Record>, Fault> {
        if self.place == Place::Begin {
            self.take(b"[")?;
            self.place = Place::First;
        }
        let closes = match self.place {
            Place::First => self.peek()? == Some(b']') && self.take(b"]").is_ok(),
            Place::Next => self.take(b",]")? == b']',
            Place::Begin | Place::End => true,
        };
        if closes {
            if self.place != Place::End && self.peek()?.is_some() {
                return Err(Fault::broken("the array has ended, but the file goes on"));
            }
            self.place = Place::End;
            return Ok(None);
        }
        if self.peek()?.is_some_and(|byte| byte != b'{') {
            return Err(Fault::broken("elements of the array must be objects"));
        }
        self.element_line = self.line;
        self.place = Place::Next;
        parse(&self.object()?).map(Some)
    }
}

impl<R: BufRead + Send> Container for Array<R> {
    fn next_record(&mut self) -> Result<Option<Record>, Fault> {
        let next = self.next_object();
        if matches!(next, Err(Fault::Input(_))) {
            self.element_line = self.line;
            self.place = Place::End;
        }
        next
    }

    fn position(&self) -> usize {
        self.element_line
    }
}

fn ended() -> Fault {
    Fault::Input(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends within the array"))
}

/// How deep in objects, arrays and strings the text is.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Takes in `byte`; whether it closes what was opened first.
    fn closes(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// Reads with a buffer of three bytes, so that everything falls across its end somewhere.
    fn read(text: &str) -> (Vec<(usize, Record)>, Option<Fault>) {
        let mut array = Array::new(BufReader::with_capacity(3, text.as_bytes()));
        let mut records = Vec::new();
        loop {
            match array.next_record() {
                Ok(Some(record)) => records.push((array.position(), record)),
                Ok(None) => return (records, None),
                Err(fault) => return (records, Some(fault)),
            }
        }
    }

    #[test]
    fn brackets_and_quotes_in_strings_end_nothing() {
        let text = "[ {\"a\": \"}]\\\"{\\\\\"},\n\n{\"b\": [{}, [1]],\n \"c\": 2}]\n";
        let (records, fault) = read(text);
        assert!(fault.is_none());
        assert_eq!(records[0].1["a"], "}]\"{\\");
        assert_eq!((records[1].0, &records[1].1["c"]), (3, &2.into()));
        assert!(read("[]").0.is_empty() && read("[]").1.is_none());
    }

    #[test]
    fn what_is_no_whole_array_of_objects_is_refused() {
        for text in ["[{}", "[{},]", "[{} {}]", "[{\"a\":1", "[1]", "[{}] {}", "[", "[,]"] {
            assert!(matches!(read(text).1, Some(Fault::Input(_))), "{text}");
        }
    }

    #[test]
    fn an_element_that_is_no_json_is_named_and_the_next_is_read() {
        let mut array = Array::new(&b"[{\"a\": nope},\n{\"a\": 1}]"[..]);
        assert!(matches!(array.next_record(), Err(Fault::Record(_))));
        assert_eq!(array.next_record().unwrap().unwrap()["a"], 1);
        assert_eq!(array.position(), 2);
    }
}
