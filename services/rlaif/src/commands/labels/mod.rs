//! `rlaif labels`: what a ledger of labels holds.

mod reaggregate;

use anyhow::{Context, Result, bail};
use rlaif_ledger::{Answer, Entry, Error, Filter, Outcomes, PanelLabel, Question, Reader, Setup};
use rlaif_types::{LabelId, Rationale, SoftLabel};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Characters of an id that are shown.
const ID_WIDTH: usize = 12;

/// How the way of asking is called that asks for the verdict straight away, without anything besides.
const PLAIN: &str = "plain";

/// List the labels of a ledger, show all of one, add up what they cost, or make them again by another
/// rule without asking again. Reading is possible while a run writes.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif labels list --ledger labels.db --margin 0.05\n  \
    rlaif labels show 3f9a61 --ledger labels.db\n  \
    rlaif labels stats --ledger labels.db\n  \
    rlaif labels reaggregate --ledger labels.db --asking plain --combine vote --out votes.jsonl")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// One line for each label, oldest first.
    List(List),
    /// All of one question: texts, verdicts, rationales, cost, and its failures; of a panel's label, all of
    /// its members.
    Show(Show),
    /// What was spent on what.
    Stats(Stats),
    /// Labels by another rule, from the verdicts on record: one JSON object a line. They are of one model, one
    /// template and one way of asking: choose where the ledger has several.
    Reaggregate(reaggregate::Args),
}

#[derive(clap::Args)]
struct Source {
    /// The ledger.
    #[arg(long, value_name = "FILE")]
    ledger: PathBuf,
}

#[derive(clap::Args)]
struct Selection {
    /// Of this labeler: its name, or how its hash begins.
    #[arg(long)]
    model: Option<String>,
    /// By this template: its name, or how its hash begins.
    #[arg(long)]
    template: Option<String>,
    /// Asked in this way: "plain" for the verdict straight away, else how the hash of exemplars, rationales and all
    /// else begins ("asking_hash" of a label).
    #[arg(long, value_name = "WAY")]
    asking: Option<String>,
    /// Recorded within this time: 30m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Whose verdicts have less probability than this: the labeler wanted to say something else.
    #[arg(long, value_name = "P")]
    verdict_mass_below: Option<f64>,
    /// No further than this from 0.5: the labeler could not tell.
    #[arg(long, value_name = "P")]
    margin: Option<f64>,
}

impl Selection {
    /// The selected entries, oldest first.
    fn entries<'a>(
        &'a self,
        reader: &'a Reader,
        outcomes: Outcomes,
    ) -> impl Iterator<Item = Result<Entry, Error>> + 'a {
        reader.entries(self.filter(outcomes)).filter(move |entry| match entry {
            Ok(entry) => self.is_asked_so(&entry.setup),
            Err(_) => true,
        })
    }

    fn is_asked_so(&self, setup: &Setup) -> bool {
        match (self.asking.as_deref(), setup.asking()) {
            (None, _) => true,
            (Some(way), None) => way == PLAIN,
            (Some(way), Some(hash)) => hash.as_str().starts_with(way),
        }
    }

    fn filter(&self, outcomes: Outcomes) -> Filter {
        let since_ms = self.since.map(|since| {
            let at = SystemTime::now().checked_sub(since).unwrap_or(UNIX_EPOCH);
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
        });
        Filter {
            outcomes,
            model: self.model.clone(),
            template: self.template.clone(),
            since_ms,
            verdict_mass_below: self.verdict_mass_below,
            margin: self.margin,
        }
    }
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    selection: Selection,
    /// Failures instead of labels.
    #[arg(long)]
    unscorable: bool,
    /// Whole entries, one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Show {
    /// The label's id, or how it begins.
    id: String,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args)]
struct Stats {
    #[command(flatten)]
    source: Source,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match args.action {
        Action::List(args) => list(&args, &mut out)?,
        Action::Show(args) => show(&args, &mut out)?,
        Action::Stats(args) => stats(&args, &mut out)?,
        Action::Reaggregate(args) => reaggregate::run(&args, &mut out)?,
    }
    out.flush().context("writing output")
}

fn list(args: &List, out: &mut impl Write) -> Result<()> {
    let reader = Reader::open(&args.source.ledger)?;
    let outcomes = if args.unscorable { Outcomes::Unscorable } else { Outcomes::Labels };
    for entry in args.selection.entries(&reader, outcomes) {
        let entry = entry?;
        if args.json {
            write_json(out, &entry)?;
            continue;
        }
        let id = &entry.label_id.0.as_str()[..ID_WIDTH];
        let Entry { setup, .. } = &entry;
        writeln!(
            out,
            "{id}  {}  {:<24} {:<24} {:<12}  {}",
            time(entry.created_at_ms),
            setup.model,
            setup.template,
            asking(setup),
            outcome(&entry)
        )?;
    }
    Ok(())
}

fn show(args: &Show, out: &mut impl Write) -> Result<()> {
    let reader = Reader::open(&args.source.ledger)?;
    if let Some(panel) = reader.panel(&args.id)? {
        return show_panel(&reader, &panel, out);
    }
    let entries = reader.explain(&args.id)?;
    let Some(Entry { label_id, question, .. }) = entries.first() else {
        bail!("{:?} was asked, but nothing is on record of it", args.id);
    };
    writeln!(out, "label {label_id}")?;
    show_question(question, out)?;
    entries.iter().try_for_each(|entry| show_attempt(entry, out))
}

/// A label that several labelers made together, and what each of them said.
fn show_panel(reader: &Reader, panel: &PanelLabel, out: &mut impl Write) -> Result<()> {
    let PanelLabel { label_id, rule, quorum, label, members } = panel;
    let said: Vec<Vec<Entry>> =
        members.iter().map(|member| of_member(reader, member)).collect::<Result<_>>()?;
    writeln!(out, "label {label_id}")?;
    // All were asked about the same.
    if let Some(Entry { question, .. }) = said.iter().flatten().next() {
        show_question(question, out)?;
    }
    let (label, count) = (label.value(), members.len());
    writeln!(
        out,
        "\n{label:.4} for A, the {rule} of a panel of {count}, {quorum} of which had to be able to judge"
    )?;
    for (member, entries) in members.iter().zip(&said) {
        writeln!(out, "\nmember {member}")?;
        if entries.is_empty() {
            writeln!(out, "  not in this ledger")?;
        }
        entries.iter().try_for_each(|entry| show_attempt(entry, out))?;
    }
    Ok(())
}

/// What is on record of a member's question.
fn of_member(reader: &Reader, member: &LabelId) -> Result<Vec<Entry>> {
    match reader.explain(member.0.as_str()) {
        Err(Error::Unknown { .. }) => Ok(Vec::new()),
        entries => Ok(entries?),
    }
}

fn show_question(question: &Question, out: &mut impl Write) -> Result<()> {
    match question {
        Question::Compare(pair) => {
            writeln!(out, "\n{}\n\nA: {}", pair.prompt.as_context(), pair.response_a)?;
            writeln!(out, "\nB: {}", pair.response_b)?;
        }
        Question::Rate(item) => {
            writeln!(out, "\n{}\n\nresponse: {}", item.prompt.as_context(), item.response)?;
        }
    }
    Ok(())
}

fn show_attempt(entry: &Entry, out: &mut impl Write) -> Result<()> {
    let Entry { setup, usage, .. } = entry;
    writeln!(out, "\n{}  {}", time(entry.created_at_ms), outcome(entry))?;
    let (model, template) = (setup.model_hash.short(), setup.template_hash.short());
    writeln!(out, "  labeler   {} ({model}) at {}", setup.model, setup.engine)?;
    writeln!(out, "  template  {} ({template})", setup.template)?;
    writeln!(out, "  asking    {}, {}", asking(setup), setup.options)?;
    writeln!(
        out,
        "  cost      {}: {} tokens read ({} cached), {} written, {} ms, {} tries",
        entry.cost,
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.completion_tokens,
        entry.latency_ms,
        entry.attempts
    )?;
    let of = |what: &Option<String>| what.clone().unwrap_or_else(|| "-".into());
    writeln!(out, "  worker    {}, trace {}", of(&entry.worker), of(&entry.trace_id))?;
    match &entry.outcome {
        Ok(Answer::Comparison(comparison)) => {
            for (shown, order) in [("A first", &comparison.ab), ("B first", &comparison.ba)] {
                let verdict = verdict(Some(order.prefers_first), &order.verdict_logprobs);
                writeln!(out, "  {shown}   {verdict}")?;
                show_rationales(&order.rationales, out)?;
            }
        }
        Ok(Answer::Rating(rating)) => {
            for answered in &rating.answers {
                let logprobs = logprobs(&answered.verdict_logprobs);
                writeln!(out, "  verdicts  {:.4?}; {logprobs}", answered.distribution)?;
                show_rationales(&answered.rationales, out)?;
            }
        }
        Err(_) => {}
    }
    Ok(())
}

/// What was said, and the verdict after it.
fn show_rationales(rationales: &[Rationale], out: &mut impl Write) -> Result<()> {
    for Rationale { text, verdict_logprobs, prefers_first } in rationales {
        writeln!(out, "    {}", text.trim().replace('\n', "\n    "))?;
        writeln!(out, "    -> {}", verdict(*prefers_first, verdict_logprobs))?;
    }
    Ok(())
}

fn verdict(prefers_first: Option<SoftLabel>, verdict_logprobs: &[f64]) -> String {
    let logprobs = logprobs(verdict_logprobs);
    match prefers_first {
        Some(p) => format!("{:.4} for the first; {logprobs}", p.value()),
        None => logprobs,
    }
}

fn logprobs(verdict_logprobs: &[f64]) -> String {
    let shown = verdict_logprobs.iter().map(|logprob| match *logprob {
        // Stands for minus infinity.
        f64::MIN => "never".into(),
        logprob => format!("{logprob:.4}"),
    });
    format!("log-probs {}", shown.collect::<Vec<String>>().join(", "))
}

fn stats(args: &Stats, out: &mut impl Write) -> Result<()> {
    let spendings = Reader::open(&args.source.ledger)?.spent()?;
    if args.json {
        return spendings.iter().try_for_each(|spending| write_json(out, spending));
    }
    for spending in spendings {
        writeln!(out, "{} at {}, {}", spending.model, spending.engine, spending.template)?;
        writeln!(
            out,
            "  {} labels, {} unscorable, {} paid twice",
            spending.labels, spending.unscorable, spending.repeated
        )?;
        if spending.unsettled > 0 {
            writeln!(out, "  {} answers kept, not yet part of a label", spending.unsettled)?;
        }
        if spending.checks > 0 {
            writeln!(out, "  {} times asked whether it is there", spending.checks)?;
        }
        let usage = spending.usage;
        writeln!(
            out,
            "  {} for {} tokens read ({} cached) and {} written",
            spending.cost, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
        )?;
    }
    Ok(())
}

/// How the way of asking is called: as `--asking` takes it.
fn asking(setup: &Setup) -> String {
    setup.asking().map_or(PLAIN.to_owned(), |hash| hash.short().to_owned())
}

fn outcome(entry: &Entry) -> String {
    match &entry.outcome {
        Ok(Answer::Comparison(comparison)) => format!("{:.4} for A", comparison.label.value()),
        Ok(Answer::Rating(rating)) => format!("rated {:.4}", rating.reward),
        Err(unscorable) => format!("unscorable: {unscorable}"),
    }
}

fn time(ms: u64) -> String {
    // Within what a calendar of four-digit years can show.
    let at = UNIX_EPOCH + Duration::from_millis(ms.min(253_402_300_799_000));
    humantime::format_rfc3339_seconds(at).to_string()
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, value).context("writing output")?;
    out.write_all(b"\n").context("writing output")
}
