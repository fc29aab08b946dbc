//! `rlaif labeler`, `rollout`, `reward` and `learner`: one kind of worker as a network service.

use anyhow::{Context, Result};
use rlaif_service::{config, shutdown, telemetry};
use rlaif_worker::{Config, Host, Service};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long the last spans and metrics may take to leave.
const FLUSH: Duration = Duration::from_secs(5);
/// How long threads at work may keep the process from ending.
const GRACE: Duration = Duration::from_secs(1);

/// What every worker is started with. Values that the file does not have are built in; the environment
/// overrides both: RLAIF__QUEUE__URL=redis://queue:6379.
#[derive(clap::Args)]
pub struct Args {
    /// Configuration, as TOML.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print the resolved configuration, secrets as stars, and end.
    #[arg(long)]
    dump_config: bool,
}

/// Runs one kind of worker until a signal.
pub fn run<S: Service>(args: Args) -> Result<()> {
    let defaults = rlaif_worker::config::defaults::<S>();
    let config: Config<S::Direct> = config::load(&defaults, args.config.as_deref())?;
    if args.dump_config {
        print!("{}", config::dump(&defaults, &config)?);
        return Ok(());
    }
    let runtime = Runtime::new().context("starting the asynchronous runtime")?;
    let ended = runtime.block_on(serve::<S>(config));
    // A thread in the middle of a computation cannot be stopped; the process ends without it.
    runtime.shutdown_timeout(GRACE);
    ended
}

async fn serve<S: Service>(config: Config<S::Direct>) -> Result<()> {
    let who = telemetry::Identity {
        service: S::NAME,
        version: env!("CARGO_PKG_VERSION"),
        instance: config.worker.name(),
    };
    let telemetry = telemetry::init(&config.telemetry, &who)?;
    let ended = async {
        let host = Host::<S>::bind(config, telemetry.registry()).await?;
        let shutdown = shutdown::on_signals().context("listening for signals")?;
        Ok(host.run(shutdown).await?)
    };
    let ended = ended.await;
    telemetry.shutdown(FLUSH).await;
    ended
}
