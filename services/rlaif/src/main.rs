//! `rlaif`: one binary for every part of reinforcement learning from AI feedback.

mod commands;
mod labeling;
mod one_process;

use clap::Parser;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

// Training allocates and frees tensors of megabytes by the thousand; the system's allocator gives
// each back to the kernel and faults it in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    if !cli.is_a_service() {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_from_env("RLAIF_LOG").unwrap_or_else(|_| "warn".into()))
            .with_writer(std::io::stderr)
            .init();
    }
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
