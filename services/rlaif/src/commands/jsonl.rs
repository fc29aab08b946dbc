//! Options for reading and writing JSONL, and the loop that every tool shares.

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rlaif_data::{Reader, Record};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Records worked on together: enough to fill the engine, few enough to show progress and to lose
/// little on a kill.
const CHUNK: usize = 64;

#[derive(Args)]
pub struct JsonlArgs {
    /// Input, one JSON object a line; - is standard input.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    pub input: PathBuf,

    /// Output, one JSON object a line; - is standard output.
    #[arg(long = "out", value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

impl JsonlArgs {
    /// Parses every record first, so that a malformed line is reported before any work, then runs
    /// `f` on chunks of them and writes what it returns.
    pub fn process<T>(
        &self,
        parse: impl FnMut(Record) -> Result<T, String>,
        mut f: impl FnMut(&[T]) -> Result<Vec<Record>>,
    ) -> Result<()> {
        let records = Reader::open(&self.input)?.read_all(parse)?;
        if records.is_empty() {
            bail!("{}: no records to work on", self.input.display());
        }
        let mut output = self.open_output()?;
        let bar = progress_bar(records.len());
        for chunk in records.chunks(CHUNK) {
            for record in f(chunk)? {
                serde_json::to_writer(&mut output, &record).context("writing output")?;
                output.write_all(b"\n").context("writing output")?;
            }
            output.flush().with_context(|| format!("writing {}", self.output.display()))?;
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        Ok(())
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

/// A bar on standard error with count, rate and time left; nothing where that is no terminal.
pub fn progress_bar(len: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left")
            .expect("the template is a constant");
    ProgressBar::new(len as u64).with_style(style)
}
