//! `rlaif models`: get models by name.

use anyhow::Result;
use clap::Subcommand;
use rlaif_models::registry;

/// Get models by name, and see which there are.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif models pull smollm2-135m-instruct")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download a model and check its SHA-256. One that is there is not downloaded again.
    Pull {
        /// A name from `rlaif models list`.
        name: String,
    },
    /// Names that can be pulled, and whether they have been.
    List,
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Pull { name } => {
            let path = registry::pull(&name, &mut |what| eprintln!("{what}"))?;
            println!("{}", path.display());
        }
        Command::List => {
            for known in registry::KNOWN {
                let state = if registry::is_pulled(known) { "pulled" } else { "not pulled" };
                println!("{:<24} {:<12} {}", known.name, state, known.description);
            }
        }
    }
    Ok(())
}
