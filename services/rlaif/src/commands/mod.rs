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
mod worker;

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
    /// Serve the labeler's queue, and judgements for direct callers.
    Labeler(worker::Args),
    /// Serve the rollout queue, and completions for direct callers.
    Rollout(worker::Args),
    /// Serve the reward queue, and rewards for direct callers.
    Reward(worker::Args),
    /// Serve the learner's queue, and how far it is.
    Learner(worker::Args),
}

impl Cli {
    /// Whether the command is a service, which has logs as its configuration says.
    pub fn is_a_service(&self) -> bool {
        use Command::{Labeler, Learner, Reward, Rollout};
        matches!(self.command, Labeler(_) | Rollout(_) | Reward(_) | Learner(_))
    }
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
        Command::Labeler(args) => worker::run::<rlaif_labeler::Labeler>(args),
        Command::Rollout(args) => worker::run::<rlaif_rollout::Rollout>(args),
        Command::Reward(args) => worker::run::<rlaif_reward::Reward>(args),
        Command::Learner(args) => worker::run::<rlaif_learner::Learner>(args),
    }
}
