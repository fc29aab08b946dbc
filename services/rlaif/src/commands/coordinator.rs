//! `rlaif coordinator`: the service that accepts jobs.

use anyhow::{Context, Result};
use rlaif_coordinator::service;
use std::path::PathBuf;
use tokio::runtime::Runtime;

/// Serve jobs: accept them, hand their tasks to workers through Redis, collect the results.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif coordinator --dump-config > coordinator.toml\n  \
    rlaif coordinator --config coordinator.toml\n\n\
    Every setting is also an environment variable: RLAIF__QUEUE__URL=redis://queue:6379")]
pub struct Args {
    /// Settings that differ from the defaults, as TOML.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print the resolved settings with their explanations, and end.
    #[arg(long)]
    dump_config: bool,
}

pub fn run(args: Args) -> Result<()> {
    let config = service::Config::load(args.config.as_deref())?;
    if args.dump_config {
        print!("{}", config.dump());
        return Ok(());
    }
    let runtime = Runtime::new().context("starting the asynchronous runtime")?;
    runtime.block_on(async {
        let shutdown = rlaif_service::shutdown::on_signals()?;
        Ok(service::run(config, shutdown).await?)
    })
}
