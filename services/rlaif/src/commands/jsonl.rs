//! Options for reading records and writing JSONL, and the loop that every tool shares.

use super::files::Files;
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use rlaif_data::{Reader, Record};
use std::fs::{self, File};
use std::io::{BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Records worked on together: enough to fill the engine, few enough to show progress and to lose
/// little on a kill.
const CHUNK: usize = 64;

#[derive(Args)]
pub struct JsonlArgs {
    /// Input, one JSON object a line, or any other container that `rlaif data` reads; - is standard
    /// input.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    pub input: PathBuf,

    /// Output, one JSON object a line; - is standard output.
    #[arg(long = "out", value_name = "FILE", default_value = "-",
        value_parser = PathBufValueParser::new().try_map(not_a_container))]
    pub output: PathBuf,
}

/// A name under which lines of JSON are no surprise.
pub fn not_a_container(path: PathBuf) -> Result<PathBuf, String> {
    let is_of =
        |container: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(container));
    match is_of("parquet") || is_of("gz") {
        false => Ok(path),
        true => {
            Err("this command writes JSON lines: name a .jsonl, and make the other of it with \
                     `rlaif data convert`"
                .to_owned())
        }
    }
}

/// Records to write, and whether the next ones are to be worked on.
pub type Step = ControlFlow<Vec<Record>, Vec<Record>>;

impl JsonlArgs {
    /// The files that the options name.
    pub fn files(&self) -> Files {
        Files::default().reads("--in", [&self.input]).writes("--out", [&self.output])
    }

    /// [`JsonlArgs::process_until`] the end.
    pub fn process<T>(
        &self,
        parse: impl FnMut(usize, Record) -> Result<T, String>,
        mut f: impl FnMut(&[T]) -> Result<Vec<Record>>,
    ) -> Result<()> {
        self.process_until(parse, |records| Ok(ControlFlow::Continue(f(records)?)))
    }

    /// Runs `f` on chunks of what `parse` makes of the records, numbered from 0, and writes what it
    /// returns. Memory does not grow with their number: a file is read twice, so that a malformed line
    /// is reported before any work; of a pipe, which can be read once, it is reported when it is read.
    pub fn process_until<T>(
        &self,
        mut parse: impl FnMut(usize, Record) -> Result<T, String>,
        mut f: impl FnMut(&[T]) -> Result<Step>,
    ) -> Result<()> {
        self.files().check()?;
        let bar = match self.is_file() {
            false => progress_bar(None),
            true => {
                let mut records = Records::open(&self.input)?;
                while records.next(&mut parse)?.is_some() {}
                records.check_not_empty(&self.input)?;
                progress_bar(Some(records.count))
            }
        };
        let mut records = Records::open(&self.input)?;
        let mut output = self.open_output()?;
        loop {
            let (chunk, bad) = records.chunk(&mut parse);
            if !chunk.is_empty() {
                let step = f(&chunk)?;
                let (written, stops) = match step {
                    ControlFlow::Continue(written) => (written, false),
                    ControlFlow::Break(written) => (written, true),
                };
                for record in written {
                    serde_json::to_writer(&mut output, &record).context("writing output")?;
                    output.write_all(b"\n").context("writing output")?;
                }
                output.flush().with_context(|| format!("writing {}", self.output.display()))?;
                bar.inc(chunk.len() as u64);
                if stops {
                    break;
                }
            }
            match bad {
                Some(error) => return Err(error),
                None if chunk.len() < CHUNK => break,
                None => {}
            }
        }
        bar.finish_and_clear();
        records.check_not_empty(&self.input)
    }

    /// Shows `f` chunks of what `parse` makes of the records, and writes nothing.
    pub fn read<T>(
        &self,
        mut parse: impl FnMut(usize, Record) -> Result<T, String>,
        mut f: impl FnMut(&[T]) -> Result<()>,
    ) -> Result<()> {
        let mut records = Records::open(&self.input)?;
        loop {
            let (chunk, bad) = records.chunk(&mut parse);
            f(&chunk)?;
            match bad {
                Some(error) => return Err(error),
                None if chunk.len() < CHUNK => return records.check_not_empty(&self.input),
                None => {}
            }
        }
    }

    /// Whether the input can be read again. A pipe cannot, whatever it is called: /dev/stdin, or as shells name one.
    fn is_file(&self) -> bool {
        self.input != Path::new("-") && fs::metadata(&self.input).is_ok_and(|input| input.is_file())
    }

    fn open_output(&self) -> Result<Box<dyn Write>> {
        if self.output == Path::new("-") {
            return Ok(Box::new(BufWriter::new(std::io::stdout())));
        }
        let file = File::create(&self.output)
            .with_context(|| format!("creating {}", self.output.display()))?;
        Ok(Box::new(BufWriter::new(file)))
    }
}

/// Records of the input, counted.
struct Records {
    reader: Reader,
    count: usize,
}

impl Records {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self { reader: Reader::open(path)?, count: 0 })
    }

    fn next<T>(
        &mut self,
        parse: &mut impl FnMut(usize, Record) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let Some(record) = self.reader.next_record()? else { return Ok(None) };
        let parsed = parse(self.count, record).map_err(|what| self.reader.error(what))?;
        self.count += 1;
        Ok(Some(parsed))
    }

    /// The next records, and what is wrong with the one after them; fewer than a whole chunk at the end.
    fn chunk<T>(
        &mut self,
        parse: &mut impl FnMut(usize, Record) -> Result<T, String>,
    ) -> (Vec<T>, Option<anyhow::Error>) {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            match self.next(parse) {
                Ok(Some(parsed)) => chunk.push(parsed),
                Ok(None) => break,
                Err(error) => return (chunk, Some(error)),
            }
        }
        (chunk, None)
    }

    fn check_not_empty(&self, path: &Path) -> Result<()> {
        match self.count {
            0 => bail!("{}: no records to work on", path.display()),
            _ => Ok(()),
        }
    }
}

/// A bar on standard error with count, rate and, where it is known how many there are, time left; nothing
/// where that is no terminal.
pub fn progress_bar(len: Option<usize>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match len {
        Some(len) => (
            ProgressBar::new(len as u64),
            "{wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left",
        ),
        None => (ProgressBar::no_length(), "{spinner} {human_pos}  {per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are constants"))
}
