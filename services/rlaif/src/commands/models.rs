//! `rlaif models`: get models by name.

use super::download::DownloadBar;
use anyhow::Result;
use clap::Subcommand;
use rlaif_hub::{KNOWN, Store};

/// Get models by name, and see which there are.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  rlaif models pull smollm2-135m-instruct\n  \
    rlaif models pull hf:HuggingFaceTB/SmolLM2-135M-Instruct\n\n\
    Models are kept in $RLAIF_MODELS, by default rlaif/models in the user's cache. HF_TOKEN opens \
    gated repositories; HF_ENDPOINT names another hub.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download a model and check its hashes. One that is there is not downloaded again; one that
    /// was interrupted is gone on with.
    Pull {
        /// A name from `rlaif models list`, or hf:owner/name or hf:owner/name/file.gguf of the
        /// Hugging Face hub, with @revision where it is not main.
        name: String,
    },
    /// Names that can be pulled, whether they have been, and what else was pulled from the hub.
    List,
}

pub fn run(args: Args) -> Result<()> {
    let store = Store::from_env();
    match args.command {
        Command::Pull { name } => {
            let path = store.pull(&name, &mut DownloadBar::new())?;
            println!("{}", path.display());
        }
        Command::List => {
            for known in KNOWN {
                let state = if store.is_pulled(known) { "pulled" } else { "not pulled" };
                println!("{:<24} {:<12} {}", known.name, state, known.description);
            }
            for spec in store.pulled_from_hub()? {
                println!("{:<24} pulled", spec.to_string());
            }
        }
    }
    Ok(())
}
