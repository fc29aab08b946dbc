//! `rlaif reward`: the reward service, and reward models without a job. How they are trained is in
//! `rlaif-rl` and `rlaif-reward`, how they are measured in `rlaif-audit`.

mod curve;
mod options;
mod score;
mod study;
mod train;
mod trained;

pub use train::trained_on;
pub use trained::Trained;

use super::worker;
use anyhow::Result;
use clap::Subcommand;

/// Serve the reward queue, and rewards for direct callers; or train and measure reward models without a
/// job.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    service: worker::Args,
}

#[derive(Subcommand)]
enum Command {
    Train(train::Args),
    Curve(curve::Args),
    Score(score::Args),
}

impl Args {
    pub fn is_a_service(&self) -> bool {
        self.command.is_none()
    }
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Some(Command::Train(args)) => train::run(args),
        Some(Command::Curve(args)) => curve::run(args),
        Some(Command::Score(args)) => score::run(args),
        None => worker::run::<rlaif_reward::Reward>(args.service),
    }
}
