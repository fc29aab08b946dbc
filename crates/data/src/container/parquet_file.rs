//! Parquet, one page of each column in memory at a time; rows come out as the JSON they would be.

use super::{Container, Fault};
use crate::Record;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Number, Value};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Largest footer accepted. It is read whole; a file of ten million rows needs a few megabytes.
const MAX_FOOTER_BYTES: u64 = 128 << 20;

/// Rows whose values are taken out of a page at once.
const BATCH_ROWS: usize = 256;

/// The rows of a file, row group by row group.
///
/// What a footer claims is held against the size of the file before anything is allocated for it.
/// A page's claimed size is bounded by its 31 bits alone, and reserved, not touched, until the page's
/// bytes are there.
pub(super) struct ParquetFile {
    rows: Option<RowIter<'static>>,
    row: usize,
}

impl ParquetFile {
    /// Reads the footer.
    pub(super) fn open(mut file: File) -> io::Result<Self> {
        let bytes = check_footer(&mut file)?;
        let reader = guarded(|| SerializedFileReader::new(file))?;
        guarded(|| check_chunks(&reader, bytes))?;
        let rows = RowIter::from_file_into(Box::new(reader)).with_batch_size(BATCH_ROWS);
        Ok(Self { rows: Some(rows), row: 0 })
    }
}

impl Container for ParquetFile {
    fn next_record(&mut self) -> Result<Option<Record>, Fault> {
        self.row += 1;
        let Some(rows) = &mut self.rows else { return Ok(None) };
        match guarded(|| rows.next().transpose()) {
            Ok(row) => Ok(row.map(record)),
            Err(error) => {
                // After an error columns need not stand at the same row any more.
                self.rows = None;
                Err(Fault::Input(error))
            }
        }
    }

    fn position(&self) -> usize {
        self.row
    }
}

/// The size of the file, whose last bytes must be a footer that fits into it.
fn check_footer(file: &mut File) -> io::Result<u64> {
    let bytes = file.seek(SeekFrom::End(0))?;
    let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if bytes < 12 {
        return invalid("a Parquet file that ends after its first bytes".into());
    }
    let mut tail = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    if magic != *b"PAR1" {
        return invalid("a Parquet file without its end; it was cut off".into());
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if footer > MAX_FOOTER_BYTES.min(bytes - 12) {
        return invalid(format!(
            "a Parquet footer of {footer} bytes in a file of {bytes}; at most {MAX_FOOTER_BYTES} are read"
        ));
    }
    Ok(bytes)
}

/// Columns must lie within the file.
fn check_chunks(reader: &SerializedFileReader<File>, bytes: u64) -> Result<(), ParquetError> {
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            let (start, length) = column.byte_range();
            if start.checked_add(length).is_none_or(|end| end > bytes) {
                let what = format!("column {} reaches past the end", column.column_path());
                return Err(ParquetError::General(what));
            }
        }
        if group.num_rows() < 0 {
            return Err(ParquetError::General("a row group of less than no rows".into()));
        }
    }
    Ok(())
}

/// Runs a step of the Parquet reader, which asserts where a damaged file contradicts itself.
fn guarded<T>(step: impl FnOnce() -> Result<T, ParquetError>) -> io::Result<T> {
    let what = match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its parts contradict each other".into(),
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("damaged or unsupported Parquet: {what}"),
    ))
}

fn record(row: Row) -> Record {
    row.into_columns().into_iter().map(|(name, field)| (name, value(&field))).collect()
}

/// A field as JSON. Bytes that are no text, and numbers that JSON has not, are null.
fn value(field: &Field) -> Value {
    let real = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(x) => (*x).into(),
        Field::Byte(x) => (*x).into(),
        Field::Short(x) => (*x).into(),
        Field::Int(x) | Field::Date(x) | Field::TimeMillis(x) => (*x).into(),
        Field::Long(x)
        | Field::TimeMicros(x)
        | Field::TimestampMillis(x)
        | Field::TimestampMicros(x) => (*x).into(),
        Field::UByte(x) => (*x).into(),
        Field::UShort(x) => (*x).into(),
        Field::UInt(x) => (*x).into(),
        Field::ULong(x) => (*x).into(),
        Field::Float16(x) => real(f64::from(*x)),
        Field::Float(x) => real(f64::from(*x)),
        Field::Double(x) => real(*x),
        Field::Decimal(_) => field.to_string().into(),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).ok().into(),
        Field::Group(row) => {
            row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
        }
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| match key {
                Field::Str(key) => (key.clone(), value(field)),
                key => (key.to_string(), value(field)),
            };
            map.entries().iter().map(entry).collect()
        }
    }
}
