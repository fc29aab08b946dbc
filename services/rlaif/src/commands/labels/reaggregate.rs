//! `rlaif labels reaggregate`: labels by another rule, from the verdicts on record.
//!
//! Another model, another template and another way of asking answer the same question differently. A data set
//! takes one of them, so a selection that holds several is refused.

use super::{PLAIN, Selection, Source, write_json};
use crate::commands::files::Files;
use crate::commands::jsonl::not_a_container;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::{PathBufValueParser, TypedValueParser};
use rlaif_data::AtomicFile;
use rlaif_ledger::{
    Answer, Combine, Entry, Ledger, Orders, Outcomes, Question, Reader, Rule, Samples, Setup,
};
use rlaif_types::ContentHash;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    selection: Selection,
    /// How probabilities become one.
    #[arg(long, value_enum, default_value = "mean")]
    combine: CombineArg,
    /// The order that counts.
    #[arg(long, value_enum, default_value = "both")]
    order: OrderArg,
    /// The first sample of each order alone.
    #[arg(long)]
    first_sample: bool,
    /// Divides the log-odds of each verdict: above 1 labels are softer.
    #[arg(long, default_value_t = 1.0, value_parser = above_zero)]
    temperature: f64,
    /// Output, one JSON object a line; - is standard output.
    #[arg(long = "out", value_name = "FILE", default_value = "-",
        value_parser = PathBufValueParser::new().try_map(not_a_container))]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum CombineArg {
    /// Mean of the distributions.
    Mean,
    /// Mean of the log-odds.
    LogOdds,
    /// Each verdict is a vote.
    Vote,
}

#[derive(Clone, Copy, ValueEnum)]
enum OrderArg {
    /// Both, with equal weight.
    Both,
    /// A shown first.
    Ab,
    /// B shown first.
    Ba,
}

impl Args {
    fn rule(&self) -> Rule {
        Rule {
            combine: match self.combine {
                CombineArg::Mean => Combine::Mean,
                CombineArg::LogOdds => Combine::LogOdds,
                CombineArg::Vote => Combine::Vote,
            },
            orders: match self.order {
                OrderArg::Both => Orders::Both,
                OrderArg::Ab => Orders::Ab,
                OrderArg::Ba => Orders::Ba,
            },
            samples: if self.first_sample { Samples::First } else { Samples::All },
            temperature: self.temperature,
        }
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    match number > 0.0 && number.is_finite() {
        true => Ok(number),
        false => Err("must be above 0: it divides".to_owned()),
    }
}

/// What a label depends on, beside what is asked about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    model: ContentHash,
    template: ContentHash,
    asking: Option<ContentHash>,
}

impl Way {
    fn of(setup: &Setup) -> Self {
        Self {
            model: setup.model_hash.clone(),
            template: setup.template_hash.clone(),
            asking: setup.asking(),
        }
    }

    /// The options that select it.
    fn options(&self) -> String {
        let (model, template) = (self.model.short(), self.template.short());
        let asking = self.asking.as_ref().map_or(PLAIN, ContentHash::short);
        format!("--model {model} --template {template} --asking {asking}")
    }
}

/// Writes the labels to their file, which is there whole or not at all, or to standard output, which is `stdout`.
pub fn run(args: &Args, stdout: &mut impl Write) -> Result<()> {
    let files = Files::default().reads("--ledger", Ledger::files(&args.source.ledger));
    files.writes("--out", [&args.output]).check()?;
    let reader = Reader::open(&args.source.ledger)?;
    let way = only_way(args, &reader)?;
    if args.output == Path::new("-") {
        return write_labels(args, &reader, &way, stdout);
    }
    let writing = || format!("writing {}", args.output.display());
    let mut file = AtomicFile::create(&args.output).with_context(writing)?;
    let mut out = BufWriter::new(&mut file);
    write_labels(args, &reader, &way, &mut out)?;
    out.flush().with_context(writing)?;
    drop(out);
    file.commit().with_context(writing)
}

/// The labels of what was asked in this `way`.
fn write_labels(args: &Args, reader: &Reader, way: &Way, out: &mut impl Write) -> Result<()> {
    let rule = args.rule();
    for entry in args.selection.entries(reader, Outcomes::Labels) {
        let Entry { label_id, question, outcome, setup, .. } = entry?;
        let (Question::Compare(pair), Ok(Answer::Comparison(comparison))) = (question, outcome)
        else {
            continue;
        };
        // A run may have begun another way since the ways were counted.
        if Way::of(&setup) != *way {
            continue;
        }
        let mut record = json!({
            "label_id": label_id,
            "prompt": pair.prompt,
            "response_a": pair.response_a,
            "response_b": pair.response_b,
            "recorded_soft_label": comparison.label,
        });
        // What a rule cannot combine has no label, rather than a neutral one.
        match rule.label(&comparison) {
            Ok(label) => record["soft_label"] = json!(label),
            Err(why) => record["unscorable"] = json!(why),
        }
        record["model"] = json!(setup.model);
        record["model_hash"] = json!(setup.model_hash);
        record["template"] = json!(setup.template);
        record["template_hash"] = json!(setup.template_hash);
        if let Some(asking) = setup.asking() {
            record["asking"] = json!(setup.options);
            record["asking_hash"] = json!(asking);
        }
        write_json(out, &record)?;
    }
    Ok(())
}

/// How all selected comparisons were asked.
///
/// # Errors
/// When they were asked in several ways, or there are none.
fn only_way(args: &Args, reader: &Reader) -> Result<Way> {
    let ledger = args.source.ledger.display();
    let mut ways: BTreeMap<Way, (String, u64)> = BTreeMap::new();
    let mut ratings = 0_u64;
    for entry in args.selection.entries(reader, Outcomes::Labels) {
        let Entry { question, setup, .. } = entry?;
        match question {
            Question::Compare(_) => {
                let names = || (format!("{}, {}", setup.model, setup.template), 0);
                ways.entry(Way::of(&setup)).or_insert_with(names).1 += 1;
            }
            Question::Rate(_) => ratings += 1,
        }
    }
    if ways.len() > 1 {
        let choice = |(way, (names, labels)): (&Way, &(String, u64))| {
            format!("\n  {}  ({names}: {labels} labels)", way.options())
        };
        let choices: String = ways.iter().map(choice).collect();
        bail!("{ledger}: pairs were asked about in {} ways; choose one:{choices}", ways.len());
    }
    match (ways.pop_first(), ratings) {
        (Some((way, _)), 0) => Ok(way),
        (Some((way, _)), ratings) => {
            tracing::warn!("ratings left out, which have no two orders to combine: {ratings}");
            Ok(way)
        }
        (None, 0) => bail!("{ledger}: no label is selected; see `rlaif labels list`"),
        (None, ratings) => {
            bail!("{ledger}: {ratings} ratings, which have no two orders to combine, and no label")
        }
    }
}
