//! `rlaif reward train`: a reward model of a file of labels.

use super::options::{StudyArgs, label_source};
use super::study::{Made, Study};
use crate::labeling::write;
use anyhow::{Context, Result, bail};
use rlaif_audit::{reward_headline, reward_sections};
use rlaif_data::{write_atomic, write_jsonl_atomic};
use rlaif_models::replace_folder;
use rlaif_report::{Block, Document, Plot, Point, Section, Series, Style, Table};
use rlaif_reward::{Normalisation, pair_scores};
use rlaif_types::LabelSource;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Pairs learned from whose rewards say by how much outputs are shifted and scaled; scoring all of a large
/// file again would tell no more.
const NORMALISED_OVER: usize = 512;

/// Train a reward model on labelled pairs, and measure it on pairs of other prompts.
///
/// The model's folder is a sequence-classification model that transformers loads, and that
/// `rlaif reward score`, the reward service and jobs read. In it are also report.html, reward.json with all
/// numbers and settings, and metrics.jsonl with one line for each step.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    rlaif reward train --in pairs.jsonl --model smollm2-135m-instruct --out rm --lora-rank 16 --lr 1e-4\n  \
    rlaif reward train --in labelled.jsonl --labels ai --model sft --out rm --center 0.01 \
    --plateau-every 10")]
pub struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Folder for the model; it must not be there yet.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Whose labels to learn from. Both kinds are measured on where they are there.
    #[arg(long, value_parser = label_source(), default_value = "mixed")]
    labels: LabelSource,
    /// Learn from no more labels, drawn by the seed.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub fn run(args: Args) -> Result<()> {
    if args.out.exists() {
        bail!("--out: {} is there already; remove it or name another", args.out.display());
    }
    let study = Study::prepare(&args.study)?;
    let made = study.make(args.labels, args.limit)?;
    let some = &made.learned[..made.learned.len().min(NORMALISED_OVER)];
    let normalisation = Normalisation::over(&pair_scores(&made.engine, some)?);
    let record = args.record(&study, &made, normalisation);
    let document = args.document(&study, &made, &record);
    // Half of it would be taken for a reward model, of other rewards.
    replace_folder(&args.out, |folder| -> Result<()> {
        made.model.save(folder, &study.checkpoint)?;
        normalisation.save(folder)?;
        write_atomic(&folder.join("reward.json"), &serde_json::to_vec_pretty(&record)?)?;
        write_jsonl_atomic(&folder.join("metrics.jsonl"), &made.metrics)?;
        write(&document, &folder.join("report.html"))
    })
    .with_context(|| format!("saving {}", args.out.display()))?;
    println!("{}", document.to_markdown());
    Ok(())
}

impl Args {
    fn document(&self, study: &Study, made: &Made, record: &Value) -> Document {
        let mut sections = reward_sections(&made.audit);
        sections.push(training(&made.metrics));
        sections.push(provenance(record));
        Document {
            title: "Reward model".into(),
            subtitle: format!(
                "{} learned {} labels ({}) in {} steps; measured on {} pairs of other prompts.",
                study.checkpoint.name,
                made.learned.len(),
                self.labels.as_str(),
                made.metrics.len(),
                study.counts.heldout
            ),
            headline: reward_headline(&made.audit),
            sections,
        }
    }

    /// All numbers, and all that they depend on.
    fn record(&self, study: &Study, made: &Made, normalisation: Normalisation) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "start": {"name": study.checkpoint.name, "hash": study.checkpoint.hash},
            "data": {"file": self.study.input, "hash": study.data},
            "labels": self.labels.as_str(),
            "learned": made.learned.len(),
            "learned_by_source": made.by_source,
            "pairs": study.counts,
            "steps": made.metrics.len(),
            "chat": study.chat,
            "seed": study.seed,
            "precision": self.study.precision,
            "max_tokens": self.study.max_tokens,
            "lora": study.lora,
            "settings": study.config,
            "normalisation": normalisation,
            "heldout": made.audit,
        })
    }
}

/// Whether the reward model in `folder` was trained on prompts put through its chat template; none where
/// [`run`] did not make it.
pub fn was_chat(folder: &Path) -> Option<bool> {
    let record = std::fs::read(folder.join("reward.json")).ok()?;
    serde_json::from_slice::<Value>(&record).ok()?["chat"].as_bool()
}

/// The file that the reward model in `folder` was trained on, as it was named then; none where [`run`] did not make it.
pub fn trained_on(folder: &Path) -> Option<PathBuf> {
    let record = std::fs::read(folder.join("reward.json")).ok()?;
    let file = serde_json::from_slice::<Value>(&record).ok()?["data"]["file"].as_str()?.into();
    Some(file)
}

fn training(metrics: &[Value]) -> Section {
    let line = |field: &str| {
        let point = |record: &Value| {
            let (x, y) = (record["step"].as_f64()?, record[field].as_f64()?);
            Some(Point { x, y, low: None, high: None })
        };
        let points = metrics.iter().filter_map(point).collect();
        Series { name: field.replace('_', " "), points, style: Style::Line }
    };
    let plot = |title: &str, fields: &[&str]| {
        Block::Plot(Plot {
            title: title.into(),
            x_label: "step".into(),
            y_label: String::new(),
            series: fields.iter().map(|f| line(f)).filter(|s| !s.points.is_empty()).collect(),
            reference: None,
        })
    };
    let blocks = vec![
        plot("Loss, nats a pair", &["loss", "eval_loss"]),
        plot("Accuracy on the batch, before its step", &["accuracy"]),
        plot("Mean reward", &["mean_reward"]),
    ];
    Section { title: "Training".into(), blocks }
}

fn provenance(record: &Value) -> Section {
    let rows = [
        "version",
        "start",
        "data",
        "labels",
        "learned_by_source",
        "pairs",
        "chat",
        "seed",
        "precision",
        "max_tokens",
        "lora",
        "settings",
        "normalisation",
    ];
    let row = |field: &str| vec![field.replace('_', " "), record[field].to_string()];
    let columns = vec!["what".to_owned(), "value".to_owned()];
    let table = Table { columns, rows: rows.map(row).to_vec() };
    Section { title: "Provenance".into(), blocks: vec![Block::Table(table)] }
}
