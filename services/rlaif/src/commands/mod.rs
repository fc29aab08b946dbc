//! The command line: one file per command.

mod generate;
mod jsonl;
mod logprobs;
mod model;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Align language models with AI feedback.
#[derive(Parser)]
#[command(name = "rlaif", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Logprobs(logprobs::Args),
    Generate(generate::Args),
}

/// Runs the chosen command.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Logprobs(args) => logprobs::run(args),
        Command::Generate(args) => generate::run(args),
    }
}
