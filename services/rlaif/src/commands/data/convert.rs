//! `rlaif data convert`: one dataset into another format or container, or a part of it.

use super::options::PipelineArgs;
use crate::commands::files::Files;
use anyhow::Result;
use rlaif_data::{Reader, Writer};
use std::path::PathBuf;

/// Convert a dataset, filter it, or both.
///
/// Without --to, records stay as they are, with all their fields, and only the container changes.
/// What was read, written and dropped, and why, goes to standard error.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif data convert --in comparisons.jsonl.gz --to pairs --confidence 1,2,8,9 \
    --shuffle-sides 1 --out pairs.jsonl\n  \
    rlaif data convert --in train.parquet --to trl --dedupe --not-in eval.jsonl --out train.jsonl")]
pub struct Args {
    /// Input; - is standard input, which cannot be Parquet.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Output: Parquet where it ends in .parquet, a JSON array where in .json, else JSONL; .gz after
    /// either of the last compresses. - is JSONL to standard output.
    #[arg(long = "out", value_name = "FILE", default_value = "-")]
    output: PathBuf,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub fn run(args: Args) -> Result<()> {
    let files = Files::default().reads("--in", [&args.input]).writes("--out", [&args.output]);
    args.pipeline.files(files).check()?;
    let pipeline = args.pipeline.build()?;
    let reader = Reader::open(&args.input)?;
    let writer = Writer::create(&args.output, pipeline.to)?;
    let counts = rlaif_data::convert(reader, writer, &pipeline)?;
    eprintln!("{counts}");
    Ok(())
}
