//! The command line: one file per command.

mod align;
mod asking;
mod contrast;
mod coordinator;
mod data;
mod dead_letters;
mod doctor;
mod download;
mod eval;
mod export;
pub mod files;
mod generate;
mod health;
mod jobs;
mod jsonl;
mod label;
mod labels;
mod logprobs;
mod machine;
pub mod model;
mod models;
mod progress;
mod quickstart;
mod rate;
#[cfg(test)]
mod reference;
mod remote;
mod replay;
mod report;
mod reproduce;
pub mod reward;
mod routing;
mod run;
mod steer;
mod submit;
mod templates;
mod watch;
mod worker;

pub use jsonl::progress_bar;

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
    Replay(replay::Args),
    Reproduce(reproduce::Args),
    Label(label::Args),
    Labels(labels::Args),
    Rate(rate::Args),
    Templates(templates::Args),
    Align(align::Args),
    Eval(eval::Args),
    Generate(generate::Args),
    Contrast(contrast::Args),
    Logprobs(logprobs::Args),
    Models(models::Args),
    Data(data::Args),
    Coordinator(coordinator::Args),
    /// Serve the labeler's queue, and judgements for direct callers.
    Labeler(worker::Args),
    /// Serve the rollout queue, and completions for direct callers.
    Rollout(worker::Args),
    Reward(reward::Args),
    /// Serve the learner's queue, and how far it is.
    Learner(worker::Args),
    Submit(submit::Args),
    Jobs(jobs::Args),
    Watch(watch::Args),
    /// Pause a job: nothing more of it is handed out, what was begun is finished.
    Pause(steer::Args),
    /// Go on with a job that was paused or has failed.
    Resume(steer::ResumeArgs),
    /// End a job for good; what it made stays.
    Cancel(steer::Args),
    /// Delete a job that has ended, with its journal, dead letters, files and models; takes an administrator's token.
    Delete(steer::Args),
    Report(report::Args),
    Export(export::Args),
    DeadLetters(dead_letters::Args),
    Health(health::Args),
    Doctor(doctor::Args),
}

impl Cli {
    /// Whether the command is a service, which logs as its configuration says.
    pub fn is_a_service(&self) -> bool {
        use Command::{Coordinator, Labeler, Learner, Reward, Rollout};
        match &self.command {
            Coordinator(_) | Labeler(_) | Rollout(_) | Learner(_) => true,
            Reward(args) => args.is_a_service(),
            _ => false,
        }
    }
}

/// Runs the chosen command.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Quickstart(args) => quickstart::run(args),
        Command::Run(args) => run::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Reproduce(args) => reproduce::run(args),
        Command::Label(args) => label::run(args),
        Command::Labels(args) => labels::run(args),
        Command::Rate(args) => rate::run(args),
        Command::Align(args) => align::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Templates(args) => templates::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Contrast(args) => contrast::run(args),
        Command::Logprobs(args) => logprobs::run(args),
        Command::Models(args) => models::run(args),
        Command::Data(args) => data::run(args),
        Command::Coordinator(args) => coordinator::run(args),
        Command::Submit(args) => submit::run(args),
        Command::Jobs(args) => jobs::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Pause(args) => steer::pause(args),
        Command::Resume(args) => steer::resume(args),
        Command::Cancel(args) => steer::cancel(args),
        Command::Delete(args) => steer::delete(args),
        Command::Report(args) => report::run(args),
        Command::Export(args) => export::run(args),
        Command::DeadLetters(args) => dead_letters::run(args),
        Command::Health(args) => health::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Labeler(args) => worker::run::<rlaif_labeler::Labeler>(args),
        Command::Rollout(args) => worker::run::<rlaif_rollout::Rollout>(args),
        Command::Reward(args) => reward::run(args),
        Command::Learner(args) => worker::run::<rlaif_learner::Learner>(args),
    }
}
