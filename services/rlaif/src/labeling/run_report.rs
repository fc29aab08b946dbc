//! The report of a labeling run: what became of its pairs, what that took, and the labeler's audit.

use super::fates::{Fate, Fates};
use super::observed::{arm, observation};
use anyhow::Result;
use rlaif_audit::{Arm, Audit, Options, document};
use rlaif_data::write_atomic;
use rlaif_judge::Judge;
use rlaif_report::{Block, Document, Plot, Point, Section, Series, Style, Table};
use rlaif_types::{Comparison, HumanLabel, Judgement, Pair};
use std::collections::BTreeSet;
use std::path::Path;

/// Bars of the labels' histogram.
const BINS: usize = 20;

/// Collects what the report needs. Memory grows with the number of pairs, by about 300 bytes each.
pub struct RunReport {
    arms: Vec<Arm>,
    /// Of the pairs so far: an audit counts each once.
    seen: BTreeSet<String>,
    labels: [usize; BINS],
}

impl RunReport {
    /// The report of what `judges` are asked.
    pub fn of(judges: &[Judge]) -> Self {
        Self {
            arms: judges.iter().map(|judge| arm("labels", judge)).collect(),
            seen: BTreeSet::new(),
            labels: [0; BINS],
        }
    }

    /// Takes in what each judge said of a pair.
    pub fn said(
        &mut self,
        pair: &Pair,
        human: Option<&HumanLabel>,
        said: &[Judgement<Comparison>],
    ) {
        let observe = |said| observation(pair, human, said);
        let observations: Vec<_> = said.iter().map(observe).collect();
        if observations.first().is_some_and(|first| self.seen.insert(first.id.clone())) {
            for (arm, observation) in self.arms.iter_mut().zip(observations) {
                arm.observations.push(observation);
            }
        }
    }

    /// Takes in what became of a pair.
    pub fn became(&mut self, fate: &Fate) {
        let (Fate::Labelled(label, _) | Fate::LeftOut(label)) = fate else { return };
        self.labels[((label.value() * BINS as f64) as usize).min(BINS - 1)] += 1;
    }

    /// Writes it with what became of all pairs, as Markdown where the name ends so, else as HTML.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, fates: &Fates, seed: u64, spent: &str) -> Result<()> {
        let audit = Audit::of(&self.arms, Options { seed, ..Options::default() })?;
        let mut report = document(&audit);
        report.title = "Labels".to_owned();
        report.sections.insert(0, self.section(fates, spent));
        write(&report, path)
    }

    fn section(&self, fates: &Fates, spent: &str) -> Section {
        let &Fates { pairs, labelled, by_people, ties, left_out, unscorable } = fates;
        let row = |what: &str, count: usize| vec![what.to_owned(), count.to_string()];
        let table = Table {
            columns: vec!["pairs".to_owned(), "count".to_owned()],
            rows: vec![
                row("asked about", pairs),
                row("labelled", labelled),
                row("of these by people", by_people),
                row("of these ties", ties),
                row("not sure enough: left out or for people to answer", left_out),
                row("unscorable", unscorable),
            ],
        };
        let point = |(bin, count): (usize, &usize)| Point {
            x: (bin as f64 + 0.5) / BINS as f64,
            y: *count as f64,
            low: None,
            high: None,
        };
        let plot = Plot {
            title: "How sure the labels are".to_owned(),
            x_label: "probability that A is better".to_owned(),
            y_label: "pairs".to_owned(),
            series: vec![Series {
                name: String::new(),
                points: self.labels.iter().enumerate().map(point).collect(),
                style: Style::Line,
            }],
            reference: None,
        };
        let spent = format!("Spent, with earlier runs of this ledger: {spent}.");
        let blocks = vec![Block::Table(table), Block::Plot(plot), Block::Text(spent)];
        Section { title: "What became of the pairs".to_owned(), blocks }
    }
}

/// Writes a report, as Markdown where the name ends so, else as HTML.
///
/// # Errors
/// When it cannot be written.
pub fn write(report: &Document, path: &Path) -> Result<()> {
    let is_markdown = path.extension().is_some_and(|extension| extension == "md");
    let text = if is_markdown { report.to_markdown() } else { report.to_html() };
    Ok(write_atomic(path, text.as_bytes())?)
}
