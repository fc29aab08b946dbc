//! Parquet out, as Hugging Face's tools read it: text, numbers, and lists of messages.

use crate::Record;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use std::io::{self, Write};
use std::sync::Arc;

/// A row group is written when it holds so many rows or bytes: what a writer and, column by column,
/// a reader hold in memory.
const GROUP_ROWS: usize = 50_000;
const GROUP_BYTES: usize = 32 << 20;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// Messages of a role and a content.
    Messages,
    /// Text or messages, whichever the first row has.
    Prompt,
    /// A real number.
    Real,
    /// A small whole number.
    Integer,
}

/// A column; each may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    /// The field.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// Writes records as rows.
pub(crate) struct ParquetWriter<W: Write + Send> {
    state: State<W>,
    columns: Vec<Column>,
    buffers: Vec<Buffer>,
    rows: usize,
    bytes: usize,
}

/// The file begins with the first row, which settles the kinds of all columns.
enum State<W: Write + Send> {
    Waiting(W),
    Open(SerializedFileWriter<W>),
    Failed,
}

impl<W: Write + Send> ParquetWriter<W> {
    pub(crate) fn new(out: W, columns: Vec<Column>) -> Self {
        Self { state: State::Waiting(out), columns, buffers: Vec::new(), rows: 0, bytes: 0 }
    }

    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        self.open(Some(record))?;
        for (column, buffer) in self.columns.iter().zip(&mut self.buffers) {
            let value = record.get(column.name).unwrap_or(&Value::Null);
            self.bytes += buffer.push(value).ok_or_else(|| misfit(*column, value))?;
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Completes the file, which may have no rows.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.open(None)?;
        self.flush()?;
        match self.state {
            State::Open(writer) => Ok(writer.into_inner()?),
            State::Waiting(_) | State::Failed => Err(io::Error::other("the file is not open")),
        }
    }

    fn open(&mut self, first: Option<&Record>) -> io::Result<()> {
        if !matches!(self.state, State::Waiting(_)) {
            return Ok(());
        }
        for column in self.columns.iter_mut().filter(|column| column.kind == Kind::Prompt) {
            let value = first.and_then(|record| record.get(column.name));
            let is_messages = value.is_some_and(Value::is_array);
            column.kind = if is_messages { Kind::Messages } else { Kind::Text };
        }
        if let State::Waiting(out) = std::mem::replace(&mut self.state, State::Failed) {
            let schema = Arc::new(parse_message_type(&schema(&self.columns))?);
            self.state = State::Open(SerializedFileWriter::new(out, schema, properties())?);
        }
        self.buffers = self.columns.iter().map(|column| Buffer::new(column.kind)).collect();
        Ok(())
    }

    /// Writes what was gathered as a row group.
    fn flush(&mut self) -> io::Result<()> {
        let State::Open(writer) = &mut self.state else {
            return Err(io::Error::other("the file is not open"));
        };
        if self.rows > 0 {
            let mut group = writer.next_row_group()?;
            for buffer in &mut self.buffers {
                buffer.write(&mut group)?;
            }
            group.close()?;
            (self.rows, self.bytes) = (0, 0);
        }
        Ok(())
    }
}

fn misfit(column: Column, value: &Value) -> io::Error {
    let what = match column.kind {
        Kind::Text => "text",
        Kind::Messages => "messages",
        Kind::Prompt => "text or messages",
        Kind::Real => "a number",
        Kind::Integer => "a whole number",
    };
    let found = match value {
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        _ => "something else",
    };
    let message = format!(
        "column {:?} holds {what} since the first row, and here is {found}; write .jsonl",
        column.name
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn schema(columns: &[Column]) -> String {
    let field = |column: &Column| {
        let name = column.name;
        match column.kind {
            Kind::Text | Kind::Prompt => format!("optional binary {name} (UTF8);"),
            Kind::Real => format!("optional double {name};"),
            Kind::Integer => format!("optional int32 {name};"),
            Kind::Messages => format!(
                "optional group {name} (LIST) {{ repeated group list {{ optional group element {{ \
                 optional binary role (UTF8); optional binary content (UTF8); }} }} }}"
            ),
        }
    };
    let fields: Vec<String> = columns.iter().map(field).collect();
    format!("message schema {{ {} }}", fields.join(" "))
}

fn properties() -> Arc<WriterProperties> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Nobody looks a text up by its smallest and largest value, and footers stay small.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    Arc::new(properties.build())
}

/// A column's values and levels since the last row group.
///
/// A definition level says how many of the optional and repeated parts on the way to a value are
/// there, a repetition level whether it continues a list (Melnik et al. 2010, "Dremel", section 4).
enum Buffer {
    Text(Values<ByteArray>),
    Real(Values<f64>),
    Integer(Values<i32>),
    Messages {
        roles: Vec<ByteArray>,
        contents: Vec<ByteArray>,
        defined: Vec<i16>,
        repeated: Vec<i16>,
    },
}

/// Values that are not in lists.
struct Values<T> {
    values: Vec<T>,
    defined: Vec<i16>,
}

impl<T> Values<T> {
    fn new() -> Self {
        Self { values: Vec::new(), defined: Vec::new() }
    }

    fn push(&mut self, value: Option<T>) {
        self.defined.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn clear(&mut self) {
        self.values.clear();
        self.defined.clear();
    }
}

impl Buffer {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Prompt => Self::Text(Values::new()),
            Kind::Real => Self::Real(Values::new()),
            Kind::Integer => Self::Integer(Values::new()),
            Kind::Messages => Self::Messages {
                roles: Vec::new(),
                contents: Vec::new(),
                defined: Vec::new(),
                repeated: Vec::new(),
            },
        }
    }

    /// Takes in a row's value; about how many bytes it holds, none where it is of another kind.
    fn push(&mut self, value: &Value) -> Option<usize> {
        match (self, value) {
            (Self::Text(values), Value::Null) => values.push(None),
            (Self::Real(values), Value::Null) => values.push(None),
            (Self::Integer(values), Value::Null) => values.push(None),
            (Self::Text(values), Value::String(text)) => {
                values.push(Some(text.as_str().into()));
                return Some(text.len() + size_of::<ByteArray>());
            }
            (Self::Real(values), value) => values.push(Some(value.as_f64()?)),
            (Self::Integer(values), value) => {
                values.push(Some(value.as_i64().and_then(|x| i32::try_from(x).ok())?));
            }
            (Self::Messages { defined, repeated, .. }, Value::Null) => {
                defined.push(0);
                repeated.push(0);
            }
            (messages @ Self::Messages { .. }, Value::Array(turns)) => {
                return messages.push_messages(turns);
            }
            (Self::Text(_) | Self::Messages { .. }, _) => return None,
        }
        Some(size_of::<f64>())
    }

    fn push_messages(&mut self, turns: &[Value]) -> Option<usize> {
        let Self::Messages { roles, contents, defined, repeated } = self else { return None };
        if turns.is_empty() {
            defined.push(1);
            repeated.push(0);
        }
        let mut bytes = 0;
        for (i, turn) in turns.iter().enumerate() {
            let (role, content) = (turn.get("role")?.as_str()?, turn.get("content")?.as_str()?);
            roles.push(role.into());
            contents.push(content.into());
            defined.push(4);
            repeated.push(i16::from(i > 0));
            bytes += role.len() + content.len() + 2 * size_of::<ByteArray>();
        }
        Some(bytes)
    }

    /// Writes the column, or the two of messages, and empties the buffer.
    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> parquet::errors::Result<()> {
        let mut column = |write: &mut dyn FnMut(
            &mut parquet::file::writer::SerializedColumnWriter<'_>,
        ) -> parquet::errors::Result<usize>| {
            let mut column = group.next_column()?.expect("one column a buffer, two for messages");
            write(&mut column)?;
            column.close()
        };
        match self {
            Self::Text(Values { values, defined }) => column(&mut |c| {
                c.typed::<ByteArrayType>().write_batch(values, Some(defined), None)
            })?,
            Self::Real(Values { values, defined }) => {
                column(&mut |c| c.typed::<DoubleType>().write_batch(values, Some(defined), None))?;
            }
            Self::Integer(Values { values, defined }) => {
                column(&mut |c| c.typed::<Int32Type>().write_batch(values, Some(defined), None))?;
            }
            Self::Messages { roles, contents, defined, repeated } => {
                for values in [roles, contents] {
                    column(&mut |c| {
                        let column = c.typed::<ByteArrayType>();
                        column.write_batch(values, Some(defined), Some(repeated))
                    })?;
                }
            }
        }
        self.clear();
        Ok(())
    }

    fn clear(&mut self) {
        match self {
            Self::Text(values) => values.clear(),
            Self::Real(values) => values.clear(),
            Self::Integer(values) => values.clear(),
            Self::Messages { roles, contents, defined, repeated } => {
                roles.clear();
                contents.clear();
                defined.clear();
                repeated.clear();
            }
        }
    }
}
