//! `rlaif reward curve`: accuracy against the number of labels.

use super::options::{StudyArgs, label_source};
use super::study::Study;
use crate::commands::files::Files;
use crate::labeling::write;
use anyhow::{Result, bail};
use rlaif_audit::{CurvePoint, curve_section, reward_headline};
use rlaif_data::{check_writable, write_atomic};
use rlaif_report::Document;
use rlaif_types::LabelSource;
use std::path::PathBuf;

/// Train reward models on more and more labels, and measure each on the same held-out pairs.
///
/// Each model starts afresh. A smaller set of labels is part of the larger ones. The table goes to standard
/// output, as soon as all models are there.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    rlaif reward curve --in pairs.jsonl --model smollm2-135m-instruct --labels human --labels ai \
    --counts 100,200,400,800 --lora-rank 16 --lr 1e-4 --out curve.html")]
pub struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Whose labels to learn from; several times for several curves.
    #[arg(long, value_parser = label_source(), default_value = "mixed")]
    labels: Vec<LabelSource>,
    /// Numbers of labels; by default an eighth, a quarter, a half and all of those that there are.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    counts: Vec<usize>,
    /// The report, as .html or .md.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// All numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<()> {
    let files = Files::default().reads("--in", [&args.study.input]);
    files.writes("--out", &args.out).writes("--json", &args.json).check()?;
    for path in [&args.out, &args.json].into_iter().flatten() {
        // Or it would be found out only after all models were trained.
        check_writable(path)?;
    }
    let study = Study::prepare(&args.study)?;
    let mut points = Vec::new();
    // All is known to be there before the first model is trained.
    let plan: Vec<(LabelSource, Vec<usize>)> = args
        .labels
        .iter()
        .map(|labels| Ok((*labels, counts(&args.counts, *labels, study.labelled(*labels))?)))
        .collect::<Result<_>>()?;
    for (labels, counts) in plan {
        for count in counts {
            let made = study.make(labels, Some(count))?;
            let trained_on = made.learned.len();
            points.push(CurvePoint {
                labels: labels.as_str().into(),
                trained_on,
                audit: made.audit,
            });
        }
    }
    let document = Document {
        title: "Accuracy against number of labels".into(),
        subtitle: format!(
            "Reward models that start at {}, measured on {} pairs of other prompts. Large figures: the \
             last model.",
            study.checkpoint.name, study.counts.heldout
        ),
        headline: points.last().map(|last| reward_headline(&last.audit)).unwrap_or_default(),
        sections: vec![curve_section(&points)],
    };
    println!("{}", document.to_markdown());
    if let Some(path) = &args.out {
        write(&document, path)?;
    }
    if let Some(path) = &args.json {
        write_atomic(path, &serde_json::to_vec_pretty(&points)?)?;
    }
    Ok(())
}

/// The numbers of labels to learn from, of `all`.
fn counts(wanted: &[usize], labels: LabelSource, all: usize) -> Result<Vec<usize>> {
    if all == 0 {
        bail!("no pair to learn from has a label of --labels {}", labels.as_str());
    }
    if let Some(count) = wanted.iter().find(|count| !(1..=all).contains(*count)) {
        bail!("--counts: from 1 to {all} labels of --labels {}, not {count}", labels.as_str());
    }
    let mut counts = match wanted {
        [] => [8, 4, 2, 1].map(|part| all.div_ceil(part)).to_vec(),
        wanted => wanted.to_vec(),
    };
    counts.sort_unstable();
    counts.dedup();
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_labels_ascend_and_there_are_as_many() {
        assert_eq!(counts(&[], LabelSource::Ai, 80).unwrap(), [10, 20, 40, 80]);
        assert_eq!(counts(&[], LabelSource::Ai, 2).unwrap(), [1, 2]);
        assert_eq!(counts(&[50, 20, 50], LabelSource::Ai, 80).unwrap(), [20, 50]);
        for (wanted, all) in [(&[81][..], 80), (&[0], 80), (&[], 0)] {
            assert!(counts(wanted, LabelSource::Human, all).is_err(), "{wanted:?} of {all}");
        }
    }
}
