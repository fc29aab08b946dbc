//! What happens to labels that a labeler is not sure of: left out, made ties, or shown to a person.

use super::files::Files;
use anyhow::{Context, Result, bail};
use clap::Args;
use rlaif_data::{Reader, Record};
use rlaif_types::{Judgement, LabelId, SoftLabel};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
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
    /// into a line has answered it; see --answers. A file with answers is not written over.
    #[arg(long, value_name = "FILE")]
    route_uncertain: Option<PathBuf>,
    /// Take the answers of people from this file, written by --route-uncertain: they stand for the
    /// labeler's, whatever its confidence.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

impl RoutingArgs {
    /// With the files that the options name.
    pub fn files(&self, files: Files) -> Files {
        files.reads("--answers", &self.answers).writes("--route-uncertain", &self.route_uncertain)
    }
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
    /// When a file cannot be read or made, an answer is none, or the file for people has answers already.
    pub fn open(args: &RoutingArgs) -> Result<Self> {
        // First, since making a file empties it.
        let answers = match &args.answers {
            Some(path) => read_answers(path)?,
            None => HashMap::new(),
        };
        let uncertain = args.route_uncertain.as_ref().map(|path| {
            check_unanswered(path)?;
            let file =
                File::create(path).with_context(|| format!("creating {}", path.display()))?;
            anyhow::Ok(Uncertain { path: path.clone(), out: BufWriter::new(file) })
        });
        let (min_confidence, tie_band) = (args.min_confidence, args.tie_band);
        Ok(Self { min_confidence, tie_band, answers, uncertain: uncertain.transpose()? })
    }

    /// The label that counts, and whose it is. What a person answered stands whatever the labeler `said`,
    /// also where it could not judge.
    ///
    /// # Errors
    /// When there is none.
    pub fn label(
        &self,
        said: &Judgement<SoftLabel>,
        id: &LabelId,
    ) -> Judgement<(SoftLabel, Source)> {
        if let Some(answer) = self.answers.get(id.0.as_str()) {
            return Ok((*answer, Source::Human));
        }
        let label = said.clone()?;
        let is_tie = self.tie_band.is_some_and(|band| label.confidence() <= band);
        Ok((if is_tie { SoftLabel::TIE } else { label }, Source::Ai))
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

/// # Errors
/// When people have answered in the file, or it is of a form in which nobody can tell: it would be lost.
fn check_unanswered(path: &Path) -> Result<()> {
    let has_content = fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() > 0);
    if !has_content {
        return Ok(());
    }
    let is_answered = |record: Record| Ok(record.get("human").is_some_and(|said| !said.is_null()));
    let answered = Reader::open(path).and_then(|reader| reader.read_all(is_answered));
    let answered = answered.with_context(|| {
        format!(
            "--route-uncertain {} is there, and may hold answers of people: name another file",
            path.display()
        )
    })?;
    match answered.into_iter().filter(|is_answered| *is_answered).count() {
        0 => Ok(()),
        count => bail!(
            "--route-uncertain {path} holds answers of people ({count}), which would be lost: give it with \
             --answers, and another name with --route-uncertain",
            path = path.display()
        ),
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
