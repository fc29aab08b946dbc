//! `rlaif`: one binary for every part of reinforcement learning from AI feedback.

mod commands;
mod doctor;
mod evaluation;
mod labeling;
mod memory;
mod one_process;

use clap::Parser;
use rlaif_models::allocator::{MiMalloc, keep_freed_memory};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    keep_freed_memory();
    let cli = commands::Cli::parse();
    if !cli.is_a_service() {
        // As other tools, `rlaif ... | head` ends quietly where nobody reads any more.
        sigpipe::reset();
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_from_env("RLAIF_LOG").unwrap_or_else(|_| "warn".into()))
            .with_writer(std::io::stderr);
        // Colours are for terminals that want them (NO_COLOR), and noise in a file.
        match std::io::stderr().is_terminal() {
            true => log.init(),
            false => log.with_ansi(false).init(),
        }
    }
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line. Many errors name their cause themselves, before they say how to mend
/// it: once is enough.
fn describe(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_that_an_error_names_itself_is_not_named_twice() {
        let io = std::io::Error::other("disk on fire");
        let data = rlaif_data::Reader::open("/nowhere.jsonl".as_ref()).err().unwrap();
        assert_eq!(describe(&anyhow!(io).context("reading x")), "reading x: disk on fire");
        let line = describe(&anyhow!(data));
        assert_eq!(line.matches("No such file").count(), 1, "{line}");
        let config = rlaif_coordinator::service::Config::load(Some("/nowhere.toml".as_ref()));
        let config = config.err().unwrap();
        let line = describe(&anyhow!(config).context("starting"));
        assert_eq!(line.matches("No such file").count(), 1, "{line}");
        assert!(line.ends_with("check --config"), "{line}");
    }
}
