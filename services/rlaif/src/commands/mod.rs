//! The command line: one file per command.

mod download;
mod generate;
mod jsonl;
mod label;
mod logprobs;
mod model;
mod models;
mod progress;
mod quickstart;
mod rate;
mod run;

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
    Quickstart(quickstart::Args),
    Run(run::Args),
    Label(label::Args),
    Rate(rate::Args),
    Generate(generate::Args),
    Logprobs(logprobs::Args),
    Models(models::Args),
}

/// Runs the chosen command.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Quickstart(args) => quickstart::run(args),
        Command::Run(args) => run::run(args),
        Command::Label(args) => label::run(args),
        Command::Rate(args) => rate::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Logprobs(args) => logprobs::run(args),
        Command::Models(args) => models::run(args),
    }
}
