//! `rlaif data`: datasets, converted, looked at and divided. What is done is in `rlaif-data`.

mod convert;
mod inspect;
mod options;
mod split;

use anyhow::Result;
use clap::Subcommand;

/// Convert, inspect and split datasets.
///
/// Reads TRL preferences, prompt with response_a and response_b, HH-RLHF, OpenAI's TL;DR comparisons,
/// NeMo-RL, messages, prompt with completion, prompts, and AlpacaEval's outputs and annotations, from
/// JSONL, JSON arrays, gzip of either, and Parquet. What a file is, is told by its content. Memory
/// does not grow with the number of records.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Convert(convert::Args),
    Inspect(inspect::Args),
    Split(split::Args),
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Convert(args) => convert::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Split(args) => split::run(args),
    }
}
