//! Records out to a file, in the container its name asks for; the file has its name once it is whole.

use crate::atomic::AtomicFile;
use crate::container::ParquetWriter;
use crate::formats::OutputFormat;
use crate::{Error, Record};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, BufWriter, Stdout, Write};
use std::path::{Path, PathBuf};

/// Writes records one at a time; memory does not grow with their number.
///
/// `.parquet` is Parquet, `.json` a JSON array, everything else JSONL; `.gz` after either of the
/// last two compresses. Until [`finish`](Self::finish) a file keeps its former content.
pub struct Writer {
    path: PathBuf,
    sink: Sink,
}

enum Sink {
    Text(Box<Text>),
    Parquet(Box<ParquetWriter<Output>>),
}

impl Writer {
    /// Begins `path`; `-` is JSONL to standard output. Parquet needs columns, and so a `format`;
    /// elsewhere records are written as they come.
    ///
    /// # Errors
    /// When it cannot be created, or its name asks for what is not written.
    pub fn create(path: &Path, format: Option<OutputFormat>) -> Result<Self, Error> {
        let sink = Self::sink(path, format).map_err(Error::io(path))?;
        Ok(Self { path: path.to_owned(), sink })
    }

    fn sink(path: &Path, format: Option<OutputFormat>) -> io::Result<Sink> {
        let unsupported = |what| Err(io::Error::new(io::ErrorKind::Unsupported, what));
        if path == Path::new("-") {
            return Ok(Sink::Text(Box::new(Text::new(Output::Stdout(io::stdout()), false, false))));
        }
        let is_gzip = path.extension().is_some_and(|e| e == "gz");
        let inner = if is_gzip { path.with_extension("") } else { path.to_owned() };
        let is_parquet = inner.extension().is_some_and(|e| e == "parquet");
        match (is_parquet, format) {
            (true, _) if is_gzip => unsupported("Parquet is compressed within; leave out \".gz\""),
            (true, None) => unsupported("Parquet has fixed columns; say which format to write"),
            (true, Some(format)) => {
                let file = Output::File(AtomicFile::create(path)?);
                Ok(Sink::Parquet(Box::new(ParquetWriter::new(file, format.columns()))))
            }
            (false, _) => {
                let is_array = inner.extension().is_some_and(|e| e == "json");
                let file = Output::File(AtomicFile::create(path)?);
                Ok(Sink::Text(Box::new(Text::new(file, is_gzip, is_array))))
            }
        }
    }

    /// Writes `record`.
    ///
    /// # Errors
    /// When the disk is full or gone, or the record does not fit the columns of a Parquet file.
    pub fn write(&mut self, record: &Record) -> Result<(), Error> {
        let written = match &mut self.sink {
            Sink::Text(text) => text.write(record),
            Sink::Parquet(parquet) => parquet.write(record),
        };
        written.map_err(Error::io(&self.path))
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// When the disk is full or gone; the former file is intact.
    pub fn finish(self) -> Result<(), Error> {
        let output = match self.sink {
            Sink::Text(text) => text.finish(),
            Sink::Parquet(parquet) => parquet.finish(),
        };
        output.and_then(Output::commit).map_err(Error::io(&self.path))
    }
}

/// Where bytes go.
enum Output {
    File(AtomicFile),
    Stdout(Stdout),
}

impl Output {
    fn commit(self) -> io::Result<()> {
        match self {
            Self::File(file) => file.commit(),
            Self::Stdout(mut stdout) => stdout.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Stdout(stdout) => stdout.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Stdout(stdout) => stdout.flush(),
        }
    }
}

/// JSON, as lines or as an array.
struct Text {
    out: Compressed,
    is_array: bool,
    is_first: bool,
}

enum Compressed {
    Plain(BufWriter<Output>),
    Gzip(Box<BufWriter<GzEncoder<Output>>>),
}

impl Text {
    fn new(output: Output, is_gzip: bool, is_array: bool) -> Self {
        let out = if is_gzip {
            Compressed::Gzip(Box::new(BufWriter::new(GzEncoder::new(
                output,
                Compression::default(),
            ))))
        } else {
            Compressed::Plain(BufWriter::new(output))
        };
        Self { out, is_array, is_first: true }
    }

    fn out(&mut self) -> &mut dyn Write {
        match &mut self.out {
            Compressed::Plain(out) => out,
            Compressed::Gzip(out) => out,
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let before: &[u8] = match (self.is_array, self.is_first) {
            (true, true) => b"[\n",
            (true, false) => b",\n",
            (false, true) => b"",
            (false, false) => b"\n",
        };
        self.is_first = false;
        self.out().write_all(before)?;
        serde_json::to_writer(self.out(), record).map_err(io::Error::from)
    }

    fn finish(mut self) -> io::Result<Output> {
        let end: &[u8] = match (self.is_array, self.is_first) {
            (true, true) => b"[]\n",
            (true, false) => b"\n]\n",
            (false, true) => b"",
            (false, false) => b"\n",
        };
        self.out().write_all(end)?;
        match self.out {
            Compressed::Plain(out) => out.into_inner().map_err(|e| e.into_error()),
            Compressed::Gzip(out) => out.into_inner().map_err(|e| e.into_error())?.finish(),
        }
    }
}
