//! What the documentation points at is there: each relative link of a Markdown file leads to a file, its
//! anchor to a heading of it, each file of the repository that code names is there, each `rlaif` command in code
//! exists with the options that it is shown with and is shown with those that it needs, the examples are jobs, and
//! each figure of training has TRL's name or is explained.

use rlaif_job::{Job, PartSource, RewardPart, Staleness, Submission};
use rlaif_reward::FitMetrics;
use rlaif_rl::{PolicyMetrics, RewardMetrics, SftMetrics};
use rlaif_template::Asking;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Every Markdown file of the repository; what is built or hidden is none of it.
fn markdown_files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let skipped = name.starts_with('.') || ["target", "node_modules"].contains(&&*name);
            match path.is_dir() {
                true if !skipped && !path.is_symlink() => folders.push(path),
                false if name.ends_with(".md") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A piece of a Markdown file.
#[derive(Debug, PartialEq)]
enum Piece {
    /// Prose, without its code.
    Prose(String),
    /// `code` within prose.
    Inline(String),
    /// A line of a fenced block, with the block's language.
    Fenced(String, String),
}

fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut language, mut prose) = (Vec::new(), None::<String>, String::new());
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &language) {
            (Some(info), None) => {
                pieces.extend(take_prose(&mut prose));
                language = Some(info.trim().to_owned());
            }
            (Some(_), Some(_)) => language = None,
            (None, Some(language)) => {
                pieces.push(Piece::Fenced(language.clone(), line.to_owned()));
            }
            // Code does not reach over the end of a paragraph or a row of a table.
            (None, None) if line.trim().is_empty() || line.starts_with('|') => {
                prose.push_str(line);
                pieces.extend(take_prose(&mut prose));
            }
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    pieces.extend(take_prose(&mut prose));
    pieces
}

/// What `prose` holds, and is then empty.
fn take_prose(prose: &mut String) -> Vec<Piece> {
    let text = std::mem::take(prose);
    let piece = |(i, part): (usize, &str)| match i % 2 {
        0 => Piece::Prose(part.to_owned()),
        _ => Piece::Inline(part.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    text.split('`').enumerate().map(piece).collect()
}

/// The targets of `[text](target)`, also where the text is code.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<String> = pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Prose(text) => Some(text),
            Piece::Inline(_) => Some(String::new()),
            Piece::Fenced(..) => None,
        })
        .collect();
    let prose = prose.concat();
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(|target| target.split_whitespace().next().unwrap_or("").to_owned()).collect()
}

/// The anchors that GitHub gives to the headings of a file.
fn anchors(text: &str) -> BTreeSet<String> {
    let (mut anchors, mut fenced) = (BTreeSet::new(), false);
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let words: String = heading.trim().to_lowercase().chars().filter(|c| kept(*c)).collect();
        let slug = words.replace(' ', "-");
        let again = (1..).map(|n| format!("{slug}-{n}"));
        let name = std::iter::once(slug.clone()).chain(again).find(|name| !anchors.contains(name));
        anchors.extend(name);
    }
    anchors
}

/// What is wrong with a link of `file`; nothing where it leads somewhere, or out of the repository.
fn broken(file: &Path, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match path {
        "" => file.to_owned(),
        path => file.parent().unwrap().join(path),
    };
    if !path.exists() {
        return Some("is not there");
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    (!anchors(&text).contains(anchor)).then_some("has no such heading")
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for file in markdown_files() {
        for target in links(&fs::read_to_string(&file).unwrap()) {
            if let Some(what) = broken(&file, &target) {
                let file = file.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{file}: {target} {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

/// Where the repository's files are; what else begins a path in code, such as `runs`, is made by its reader.
const FOLDERS: [&str; 10] = [
    "benches",
    "clients",
    "crates",
    "deploy",
    "docs",
    "examples",
    "experiments",
    "proto",
    "services",
    "tests",
];

/// Files and folders of the repository that a file's code names, in prose or to a shell. Hidden ones are not
/// kept in it.
fn named_files(text: &str) -> Vec<String> {
    let code = pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Inline(code) => Some(code),
        Piece::Fenced(language, line) if language == "sh" => Some(line),
        Piece::Fenced(..) | Piece::Prose(_) => None,
    });
    let mut files = Vec::new();
    for code in code {
        for word in code.split_whitespace() {
            let word = word.trim_matches(['\'', '"']).trim_end_matches(['.', ',', ';', ':', ')']);
            let word = word.strip_prefix("./").unwrap_or(word);
            let in_a_folder = |(first, rest): (&str, &str)| {
                FOLDERS.contains(&first) && !rest.is_empty() && !rest.contains("/.")
            };
            if word.split_once('/').is_some_and(in_a_folder) {
                files.push(word.to_owned());
            }
        }
    }
    files
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for file in markdown_files() {
        for named in named_files(&fs::read_to_string(&file).unwrap()) {
            // From the root, or from where it is named.
            if ![root(), file.parent().unwrap()].iter().any(|from| from.join(&named).exists()) {
                wrong.push(format!("{}: {named}", file.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "files that are not there:\n{}", wrong.join("\n"));
}

/// The commands that a file shows: what stands after `rlaif` up to the end of the command.
fn commands(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut goes_on) = (Vec::<String>::new(), false);
    for piece in pieces(text) {
        let line = match piece {
            Piece::Prose(_) => continue,
            Piece::Inline(code) => code,
            Piece::Fenced(language, line) => {
                let typed = line.trim_start().strip_prefix("$ ").map(str::to_owned);
                match (typed, &*language) {
                    (Some(typed), _) => typed,
                    (None, _) if goes_on => line,
                    (None, "sh") => line,
                    // What a command answered.
                    (None, _) => continue,
                }
            }
        };
        let continued = line.trim_end().ends_with(['\\', '|']);
        let part = line.trim_end().trim_end_matches('\\');
        match lines.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(&format!(" {}", part.trim())),
            None => lines.push(part.trim().to_owned()),
        }
        goes_on = continued;
    }
    lines.iter().flat_map(|line| commands_of(line)).collect()
}

/// Those of one line. A path to the program begins a command; within one it is an argument.
fn commands_of(line: &str) -> Vec<Vec<String>> {
    let line = line.replace(['[', ']', '(', ')'], " ");
    let mut commands: Vec<Vec<String>> = Vec::new();
    let (mut open, mut before) = (false, "");
    for word in line.split_whitespace() {
        let is_ours = before != "--namespace";
        before = word;
        if word.starts_with(['|', '&', ';', '#', '<', '>']) {
            open = false;
        } else if is_ours && (word == "rlaif" || !open && word.ends_with("/rlaif")) {
            open = true;
            commands.push(Vec::new());
        } else if let Some(command) = commands.last_mut().filter(|_| open) {
            command.push(word.trim_end_matches([',', ';', '.', ':']).to_owned());
            open = !word.ends_with(';');
        }
    }
    commands
}

/// With so many options a command is shown to be typed; with fewer it may be named for one of them.
const TYPED: usize = 2;

/// The program's help, by the path of subcommands.
#[derive(Default)]
struct Help(HashMap<Vec<String>, String>);

impl Help {
    fn of(&mut self, path: &[String]) -> String {
        let ask = || {
            let mut program = Command::new(env!("CARGO_BIN_EXE_rlaif"));
            let output = program.args(path).arg("--help").output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        self.0.entry(path.to_vec()).or_insert_with(ask).clone()
    }

    /// The names under "Commands:".
    fn subcommands(&mut self, path: &[String]) -> Vec<String> {
        let help = self.of(path);
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| !line.is_empty());
        // Names are indented by two, what goes on with an explanation by more.
        let names = listed.filter_map(|line| line.strip_prefix("  "));
        let names = names.filter(|line| !line.starts_with(' '));
        names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    /// What is wrong with a command.
    fn wrong(&mut self, words: &[String]) -> Option<String> {
        let first = words.first()?;
        let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
        if first.starts_with('-') || !first.chars().all(is_name) {
            return None;
        }
        if !self.subcommands(&[]).contains(first) {
            return Some(format!("there is no `rlaif {first}`"));
        }
        let (mut path, mut help, mut given) = (Vec::new(), String::new(), Vec::new());
        for word in words {
            if self.subcommands(&path).contains(word) {
                path.push(word.clone());
                help += &self.of(&path);
            } else if let Some(option) = word.strip_prefix("--").filter(|name| !name.is_empty()) {
                let name = option.split('=').next().unwrap_or(option);
                let known = |line: &str| {
                    line.split([' ', ',', '=']).any(|word| word.strip_prefix("--") == Some(name))
                };
                if !help.lines().any(known) {
                    return Some(format!("`rlaif {}` has no --{name}", path.join(" ")));
                }
                given.push(name);
            }
        }
        if given.len() < TYPED {
            return None;
        }
        // Options that may be left out are not in it one by one, but as "[OPTIONS]".
        let help = self.of(&path);
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("");
        let mut needed = usage.split_whitespace().filter_map(|word| word.strip_prefix("--"));
        let missing = needed.find(|name| !given.contains(name))?;
        Some(format!("`rlaif {}` needs --{missing}", path.join(" ")))
    }
}

#[test]
fn every_command_that_is_shown_exists() {
    let (mut help, mut wrong) = (Help::default(), Vec::new());
    for file in markdown_files() {
        for command in commands(&fs::read_to_string(&file).unwrap()) {
            if let Some(what) = help.wrong(&command) {
                let file = file.strip_prefix(root()).unwrap().display();
                wrong.push(format!("{file}: {what}, in: rlaif {}", command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "commands that do not exist:\n{}", wrong.join("\n"));
}

#[test]
fn every_example_is_a_job_with_all_that_it_names() {
    let examples = fs::read_dir(root().join("examples")).unwrap();
    let folders = examples.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let jobs: Vec<PathBuf> = folders.map(|folder| folder.join("job.toml")).collect();
    assert!(jobs.len() >= 2, "{jobs:?}");
    for job in jobs {
        Submission::read(Job::load(&job).unwrap_or_else(|e| panic!("{e}")))
            .unwrap_or_else(|e| panic!("{}: {e}", job.display()));
    }
}

/// The names of all figures that training may record. Those of stage `selection` are among the policy's.
fn figures() -> BTreeSet<String> {
    let policy = PolicyMetrics {
        episodes: 1,
        unscorable: 0,
        too_old: 0,
        alone: Some(0),
        off_policy_steps: 0.0,
        truncated: Some(0.0),
        reward: Some(0.0),
        reward_std: Some(0.0),
        shaped_reward: Some(0.0),
        kl: Some(0.0),
        beta: Some(0.0),
        policy_loss: 0.0,
        value_loss: Some(0.0),
        explained_variance: Some(0.0),
        response_tokens: 0.0,
        entropy: Some(0.0),
        clip_share: Some(0.0),
        approx_kl: Some(0.0),
        equal_groups: Some(0.0),
        accuracy: Some(0.0),
        margin: Some(0.0),
        chosen_reward: Some(0.0),
        rejected_reward: Some(0.0),
        logprob_mismatch: Some(0.0),
        policy_grad_norm: 0.0,
        value_grad_norm: Some(0.0),
        lr: 0.0,
    };
    let sft = SftMetrics { loss: 0.0, tokens: 1, grad_norm: 0.0, lr: 0.0 };
    let step =
        RewardMetrics { loss: 0.0, accuracy: Some(0.5), reward_mean: 0.0, grad_norm: 0.0, lr: 0.0 };
    let reward = FitMetrics { step, validation_loss: Some(0.0) };
    let staleness = Staleness {
        pairs: 1,
        ties: 0,
        unscorable: 0,
        agreement: Some(0.5),
        agreement_low: 0.0,
        agreement_high: 1.0,
    };
    let part = RewardPart {
        name: Some("NAME".into()),
        source: PartSource::Model,
        weight: 1.0,
        template: None,
        asking: Asking::default(),
    };
    let records = [json!(policy), json!(sft), json!(reward), json!(staleness)];
    let names = records.iter().flat_map(|record| record.as_object().unwrap().keys().cloned());
    names.chain([part.metric()]).collect()
}

#[test]
fn every_figure_of_training_has_trls_name_or_is_explained() {
    let trl = fs::read(root().join("tests/golden/trl-names.json")).unwrap();
    let trl: Value = serde_json::from_slice(&trl).unwrap();
    let trls: BTreeSet<String> = trl["names"].as_object().unwrap().keys().cloned().collect();
    let docs = fs::read_to_string(root().join("docs/training.md")).unwrap();
    let table = docs.lines().skip_while(|line| !line.ends_with("| why TRL has none |"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    let first_cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let explained: BTreeSet<String> = first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    // No figure is missing, and no row is of a figure that there is not or that TRL has.
    let ours: BTreeSet<String> = figures().difference(&trls).cloned().collect();
    assert_eq!(ours, explained);
}

#[test]
fn what_is_looked_for_is_found() {
    let text = "# A b\n\n## A, b?\n\nSee [one](x.md#a-b) and [`two`](#a-b-1).\n\n```sh\nrlaif run j.toml --resume \\\n  \
                --seed 2 | jq .\n```\n\n```text\n$ rlaif jobs\nrlaif is no command here\n```\n\nAlso `rlaif dead-letters JOB \
                requeue --all`.\n";
    assert_eq!(links(text), ["x.md#a-b", "#a-b-1"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b".to_owned(), "a-b-1".to_owned()]));
    let shown: Vec<String> = commands(text).iter().map(|words| words.join(" ")).collect();
    assert_eq!(shown, ["run j.toml --resume --seed 2", "jobs", "dead-letters JOB requeue --all"]);
    let text = "In `crates/rl/src/loss.rs`, `returns.rs` and `runs/first`; `deploy/docker/prebuilt \
                target/release/rlaif`, not tests/docs.rs.\n\n```sh\n./docs/reference/write\n\
                cat deploy/compose/.secrets/token\n```\n";
    let named = ["crates/rl/src/loss.rs", "deploy/docker/prebuilt", "docs/reference/write"];
    assert_eq!(named_files(text), named);
    let mut help = Help::default();
    let mut wrong = |line: &str| commands_of(line).iter().find_map(|words| help.wrong(words));
    assert_eq!(wrong("rlaif dead-letters JOB requeue --all"), None);
    assert_eq!(wrong("rlaif walk").unwrap(), "there is no `rlaif walk`");
    assert_eq!(wrong("rlaif run j.toml --resum").unwrap(), "`rlaif run` has no --resum");
    assert_eq!(wrong("rlaif eval --compare"), None);
    let typed = "rlaif eval --prompts p.jsonl --arm a=runs/rlaif";
    assert_eq!(wrong(typed).unwrap(), "`rlaif eval` needs --out");
    assert_eq!(wrong(&format!("{typed} --out e")), None);
    assert_eq!(wrong(&format!("{typed} --put e")).unwrap(), "`rlaif eval` has no --put");
}
