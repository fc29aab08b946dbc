//! `rlaif templates`: what a labeler can be asked.

use anyhow::Result;
use clap::Subcommand;
use rlaif_template::Template;

/// List, show and check prompt templates.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  rlaif templates list\n  \
    rlaif templates show summary/detailed > mine.toml\n  rlaif templates check mine.toml")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names, kinds and hashes of the built-in templates.
    List,
    /// A template as a file: the beginning of one of your own.
    Show {
        /// A built-in name, or a .toml file.
        template: String,
    },
    /// Check files; the first that is wrong is named.
    Check {
        /// .toml files.
        #[arg(required = true)]
        templates: Vec<String>,
    },
}

pub fn run(args: Args) -> Result<()> {
    match args.command {
        Command::List => {
            for name in Template::built_in_names() {
                println!("{}", line(&Template::load(name)?));
            }
        }
        Command::Show { template } => print!("{}", Template::load(&template)?.to_toml()),
        Command::Check { templates } => {
            for name in templates {
                println!("{}", line(&Template::load(&name)?));
            }
        }
    }
    Ok(())
}

fn line(template: &Template) -> String {
    let can = match (template.exemplars.len(), template.rationale.is_some()) {
        (0, false) => String::new(),
        (exemplars, reasons) => {
            let cot = if reasons { ", rationale" } else { "" };
            format!("{exemplars} exemplars{cot}")
        }
    };
    let kind = template.kind.describe();
    format!("{:<20} {kind:<32} {:<24} {}", template.name, can, template.hash().short())
}
