//! `rlaif doctor`: what would keep a cluster from working, before it does.

use crate::doctor::{Limits, Named, examine};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Check what services are told and whether what they are told of is there: settings, Redis, artifact store,
/// models, device, clock and disks. Says of each problem what is wrong, where, and how to mend it.
///
/// Exits with 0 where all is well, otherwise with 1. What cannot be found out is said and is no problem.
/// Nothing is changed but for a small file that is written, read and removed wherever services write.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif doctor coordinator=coordinator.toml labeler=labeler.toml reward\n  \
    docker compose exec coordinator rlaif doctor coordinator\n  \
    kubectl --namespace rlaif exec statefulset/coordinator -- rlaif doctor coordinator\n\n\
    Run it where the services run and with their environment: a variable that only one of them knows is \
    wrong for the others.")]
pub struct Args {
    /// Services to check, each with the file of its --config where it has one; without any, all of them by
    /// defaults and environment.
    #[arg(value_name = "SERVICE[=FILE]")]
    services: Vec<Named>,
    /// Print one JSON object instead of lines for people.
    #[arg(long)]
    json: bool,
    /// How long anybody may take to answer.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Gigabytes that must be free where services write.
    #[arg(long, value_name = "GB", default_value_t = 5.0)]
    min_free_gb: f64,
}

pub fn run(args: Args) -> Result<()> {
    let named = if args.services.is_empty() { Named::all() } else { args.services };
    // A cast from a float saturates, so no number is out of range.
    let min_free = (args.min_free_gb * 1e9) as u64;
    let limits = Limits { patience: args.patience, min_free };
    let runtime = Runtime::new().context("starting the asynchronous runtime")?;
    let findings = examine(&named, &limits, &runtime);
    let wrong = findings.iter().filter(|finding| finding.is_wrong()).count();
    if args.json {
        println!("{}", json!({"well": wrong == 0, "findings": findings}));
    } else {
        findings.iter().for_each(|finding| println!("{finding}"));
    }
    if wrong > 0 {
        bail!("{wrong} of {} checks found something wrong", findings.len());
    }
    Ok(())
}
