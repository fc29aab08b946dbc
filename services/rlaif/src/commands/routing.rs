//! What happens to labels that a labeler is not sure of: left out, made ties, or shown to a person.

use anyhow::{Context, Result};
use clap::Args;
use rlaif_data::{Reader, Record};
use rlaif_types::{LabelId, SoftLabel};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(next_help_heading = "Unsure labels")]
pub struct RoutingArgs {
    /// Confidence is |2p - 1|, 0 for a coin's toss and 1 for certainty. Labels with less are left out, or
    /// go where --route-uncertain says.
    #[arg(long, value_name = "C", default_value_t = 0.0)]
    min_confidence: f64,
    /// Labels with at most this confidence are ties: a soft label of exactly 0.5.
    #[arg(long, value_name = "C")]
    tie_band: Option<f64>,
    /// Write the pairs below --min-confidence here, for a person: who writes "human": "a", "b" or "tie"
    /// into a line has answered it; see --answers.
    #[arg(long, value_name = "FILE")]
    route_uncertain: Option<PathBuf>,
    /// Take the answers of people from this file, written by --route-uncertain: they stand for the
    /// labeler's, whatever its confidence.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

/// Who says what a label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The labeler.
    Ai,
    /// A person.
    Human,
}

/// Sorts labels as the options say.
pub struct Routing {
    min_confidence: f64,
    tie_band: Option<f64>,
    answers: HashMap<String, SoftLabel>,
    uncertain: Option<Uncertain>,
}

/// The file for people.
struct Uncertain {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Routing {
    /// # Errors
    /// When a file cannot be read or made, or an answer is none.
    pub fn open(args: &RoutingArgs) -> Result<Self> {
        let uncertain = args.route_uncertain.as_ref().map(|path| {
            let file =
                File::create(path).with_context(|| format!("creating {}", path.display()))?;
            anyhow::Ok(Uncertain { path: path.clone(), out: BufWriter::new(file) })
        });
        let answers = match &args.answers {
            Some(path) => read_answers(path)?,
            None => HashMap::new(),
        };
        let (min_confidence, tie_band) = (args.min_confidence, args.tie_band);
        Ok(Self { min_confidence, tie_band, answers, uncertain: uncertain.transpose()? })
    }

    /// The label that counts, and whose it is.
    pub fn label(&self, label: SoftLabel, id: &LabelId) -> (SoftLabel, Source) {
        if let Some(answer) = self.answers.get(id.0.as_str()) {
            return (*answer, Source::Human);
        }
        let is_tie = self.tie_band.is_some_and(|band| label.confidence() <= band);
        (if is_tie { SoftLabel::TIE } else { label }, Source::Ai)
    }

    /// The record, with its confidence, unless it is left out or goes to a person.
    ///
    /// # Errors
    /// When the file for people cannot be written.
    pub fn route(
        &mut self,
        label: SoftLabel,
        source: Source,
        mut record: Record,
    ) -> Result<Option<Record>> {
        record.insert("confidence".into(), json!(label.confidence()));
        if source == Source::Human || label.confidence() >= self.min_confidence {
            return Ok(Some(record));
        }
        if let Some(Uncertain { path, out }) = &mut self.uncertain {
            record.insert("human".into(), Value::Null);
            let mut line = serde_json::to_vec(&record).context("writing a record")?;
            line.push(b'\n');
            out.write_all(&line).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(None)
    }

    /// # Errors
    /// When the file for people cannot be written.
    pub fn close(self) -> Result<()> {
        let Some(Uncertain { path, mut out }) = self.uncertain else { return Ok(()) };
        out.flush().with_context(|| format!("writing {}", path.display()))
    }
}

/// Answers by label; lines that nobody has answered yet are none.
fn read_answers(path: &Path) -> Result<HashMap<String, SoftLabel>> {
    let answers = Reader::open(path)?.read_all(|record| {
        let id = match record.get("label_id") {
            Some(Value::String(id)) => id.clone(),
            _ => return Err("field \"label_id\" is missing".to_owned()),
        };
        let answer = match record.get("human") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(answer)) => match answer.as_str() {
                "a" => 1.0,
                "b" => 0.0,
                "tie" => 0.5,
                other => {
                    return Err(format!("\"human\" is {other:?}, not \"a\", \"b\" or \"tie\""));
                }
            },
            Some(_) => return Err("\"human\" must be \"a\", \"b\" or \"tie\"".to_owned()),
        };
        Ok(Some((id, SoftLabel::new(answer)?)))
    })?;
    Ok(answers.into_iter().flatten().collect())
}
