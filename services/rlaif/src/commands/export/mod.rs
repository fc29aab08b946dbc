//! `rlaif export`: what a job made, for tools elsewhere: its labelled pairs, or the adapter that it trained.

mod adapter;
mod pairs;

use super::remote::Server;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Fetch a job's labelled pairs as JSON lines in TRL's preference format, or write the adapter that a run
/// trained as a folder that PEFT loads.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    rlaif export tiny-3f9a1c --out preferences.jsonl    # of a cluster\n  \
    rlaif export runs/first --adapter policy-adapter    # of a run's folder")]
pub struct Args {
    /// The job's id; with --adapter, the run's folder.
    job: String,
    /// Where to write the pairs; standard output by default.
    #[arg(long, conflicts_with = "adapter")]
    out: Option<PathBuf>,
    /// Write the run's adapter into this folder.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// What the adapter says it belongs to; by default the model that its training began with.
    #[arg(long, value_name = "MODEL", requires = "adapter")]
    base: Option<String>,
    #[command(flatten)]
    server: Server,
}

pub fn run(args: Args) -> Result<()> {
    match &args.adapter {
        Some(folder) => adapter::write(Path::new(&args.job), folder, args.base),
        None => pairs::fetch(args.job, args.out.as_deref(), &args.server),
    }
}
