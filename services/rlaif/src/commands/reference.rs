//! `docs/reference/cli.md`, written from the definitions of the commands by
//! `docs/reference/write`.

use super::Cli;
use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");

const INTRODUCTION: &str = "\
# Commands

What `rlaif --help` says, on one page. Values that are not given are the defaults; a variable of the environment
stands for the argument beside it. What services are told is in [config.md](config.md).

This page is written from the commands by `services/rlaif/src/commands/reference.rs`.
";

fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n| command | |\n|---|---|\n");
    for command in subcommands(&cli) {
        let name = format!("rlaif {}", command.get_name());
        let link = name.replace(' ', "-");
        writeln!(page, "| [`{name}`](#{link}) | {} |", line(command.get_about())).unwrap();
    }
    subcommands(&cli).for_each(|command| describe(&mut page, "rlaif", command));
    page
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set())
}

/// A command, then those below it.
fn describe(page: &mut String, above: &str, command: &Command) {
    let name = format!("{above} {}", command.get_name());
    write!(page, "\n## {name}\n\n").unwrap();
    let about = command.get_long_about().or(command.get_about());
    for paragraph in about.map(ToString::to_string).unwrap_or_default().split("\n\n") {
        writeln!(page, "{}\n", paragraph.replace('\n', " ")).unwrap();
    }
    let mut named = command.clone().bin_name(&name);
    let usage = named.render_usage().to_string();
    writeln!(page, "```text\n{}\n```", usage.trim_start_matches("Usage: ")).unwrap();
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
        .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | default | environment | |\n|---|---|---|---|\n");
        arguments.iter().for_each(|argument| describe_argument(page, argument));
    }
    if let Some(examples) = command.get_after_help() {
        writeln!(page, "\n```text\n{}\n```", examples.to_string().trim_end()).unwrap();
    }
    subcommands(command).for_each(|below| describe(page, &name, below));
}

fn describe_argument(page: &mut String, argument: &Arg) {
    let mut help = line(argument.get_long_help().or(argument.get_help()));
    let values = argument.get_possible_values();
    // A flag's are true and false.
    if argument.get_action().takes_values() && !values.is_empty() {
        let values: Vec<String> = values.iter().map(|v| format!("`{}`", v.get_name())).collect();
        write!(help, " One of {}.", values.join(", ")).unwrap();
    }
    let default: Vec<_> =
        argument.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let default = match (default.is_empty(), argument.is_required_set()) {
        (true, true) => "required".to_owned(),
        (true, false) => String::new(),
        // That a flag is off unless given goes without saying.
        (false, _) if !argument.get_action().takes_values() => String::new(),
        (false, _) => format!("`{}`", default.join(" ")),
    };
    let environment = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
    let environment = environment.unwrap_or_default();
    writeln!(page, "| `{}` | {default} | {environment} | {help} |", spelt(argument)).unwrap();
}

/// `-m, --model MODEL`; `FILE` for what has no name before it.
fn spelt(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let mut spelt = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if argument.get_action().takes_values() {
        let id = argument.get_id().as_str().to_uppercase();
        let names = argument.get_value_names().map(<[_]>::to_vec);
        let names = names.map_or(id, |names| {
            names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        });
        spelt = format!("{spelt} {names}").trim().to_owned();
    }
    let is_repeated = argument.get_num_args().is_some_and(|count| count.max_values() > 1)
        || matches!(argument.get_action(), clap::ArgAction::Append);
    if is_repeated { format!("{spelt} ...") } else { spelt }
}

/// Text for a cell of a table.
fn line(text: Option<&StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    // clap takes the full stop from the last sentence of a help text.
    if text.is_empty() || text.ends_with(['.', '?', '!', ':']) { text } else { format!("{text}.") }
}

#[test]
fn the_reference_of_commands_is_what_the_code_says() {
    let page = page();
    if std::env::var_os("RLAIF_WRITE_REFERENCE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/cli.md is not what the commands say; write it anew: docs/reference/write"
    );
}

#[test]
fn every_command_and_argument_of_the_reference_says_what_it_is_for() {
    fn check(command: &Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(argument.get_help().is_some(), "{} {name}", command.get_name());
        }
        subcommands(command).for_each(check);
    }
    let mut cli = Cli::command();
    cli.build();
    subcommands(&cli).for_each(check);
}
