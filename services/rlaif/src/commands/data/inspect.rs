//! `rlaif data inspect`: what is in a dataset.

use anyhow::{Context, Result};
use rlaif_data::{Reader, inspect};
use std::path::PathBuf;

/// Say what is in a dataset.
///
/// Formats, lengths in characters, duplicates, ties, people's confidence, how often the first or the
/// longer response is the chosen one, and the first bad records.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif data inspect --in train.parquet --json")]
pub struct Args {
    /// Input; - is standard input, which cannot be Parquet.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Say it as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let found = inspect(Reader::open(&args.input)?)?;
    if args.json {
        let json = serde_json::to_string_pretty(&found).context("writing the findings as JSON")?;
        println!("{json}");
    } else {
        print!("{found}");
    }
    Ok(())
}
