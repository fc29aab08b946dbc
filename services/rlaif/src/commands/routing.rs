//! What happens to labels that a labeler is not sure of: left out, made ties, or shown to a person.

use super::files::Files;
use super::jsonl::not_a_container;
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};
use rlaif_data::{Reader, Record};
use rlaif_types::{Judgement, LabelId, SoftLabel};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(next_help_heading = "Unsure labels")]
pub struct RoutingArgs {
    /// Confidence is |2p - 1|, 0 for a coin's toss and 1 for certainty. Labels with less are left out, or
    /// go where --route-uncertain says.
    #[arg(long, value_name = "C", default_value_t = 0.0, value_parser = confidence)]
    min_confidence: f64,
    /// Labels with at most this confidence are ties: a soft label of exactly 0.5. A tie's own confidence is 0,
    /// so that any --min-confidence above 0 leaves it out, too.
    #[arg(long, value_name = "C", value_parser = confidence)]
    tie_band: Option<f64>,
    /// Write the pairs below --min-confidence here, for a person: who writes "human": "a", "b" or "tie"
    /// into a line has answered it; see --answers. A file with answers is not written over.
    #[arg(long, value_name = "FILE", requires = "min_confidence",
        value_parser = PathBufValueParser::new().try_map(not_a_container))]
    route_uncertain: Option<PathBuf>,
    /// Take the answers of people from this file, written by --route-uncertain: they stand for the
    /// labeler's, whatever its confidence.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

/// How sure a label is to be, as people write it.
fn confidence(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "confidence is a number from 0, a coin's toss, to 1, certainty".to_owned())
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
    answers: Option<Answers>,
    uncertain: Option<Uncertain>,
}

/// What people answered.
struct Answers {
    path: PathBuf,
    by_label: HashMap<String, Answer>,
}

struct Answer {
    label: SoftLabel,
    /// Whether the run has come to its pair.
    is_used: bool,
}

/// The file for people. Each line is written at once, so that a kill leaves whole ones.
struct Uncertain {
    path: PathBuf,
    out: File,
}

impl Routing {
    /// # Errors
    /// When a file cannot be read or made, an answer is none, or the file for people has answers already.
    pub fn open(args: &RoutingArgs) -> Result<Self> {
        // First, since making a file empties it.
        let answers = args.answers.as_deref().map(Answers::read).transpose()?;
        let uncertain = args.route_uncertain.as_ref().map(|path| {
            check_unanswered(path)?;
            let out = File::create(path).with_context(|| format!("creating {}", path.display()))?;
            anyhow::Ok(Uncertain { path: path.clone(), out })
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
        &mut self,
        said: &Judgement<SoftLabel>,
        id: &LabelId,
    ) -> Judgement<(SoftLabel, Source)> {
        if let Some(answer) = self.answers.as_mut().and_then(|answers| answers.to(id)) {
            return Ok((answer, Source::Human));
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

    /// Says of answers that no pair asked for them. Only a run that came to all its pairs can tell.
    pub fn warn_of_unused_answers(&self) {
        let Some(Answers { path, by_label }) = &self.answers else { return };
        let (all, unused) =
            (by_label.len(), by_label.values().filter(|answer| !answer.is_used).count());
        if unused > 0 {
            tracing::warn!(
                "{unused} of {all} answers in {} fit no pair of this run: its pairs, models, template and way \
                 of asking must be those of the run that wrote the file",
                path.display()
            );
        }
    }
}

/// # Errors
/// When people have answered in the file, or it is of a form in which nobody can tell: it would be lost.
fn check_unanswered(path: &Path) -> Result<()> {
    let has_content = fs::metadata(path).is_ok_and(|there| there.is_file() && there.len() > 0);
    if !has_content {
        return Ok(());
    }
    let mut answered = 0;
    let looked = read_each(path, |record| {
        answered += usize::from(record.get("human").is_some_and(|said| !said.is_null()));
        Ok(())
    });
    looked.with_context(|| {
        format!(
            "--route-uncertain {} is there, and may hold answers of people: name another file",
            path.display()
        )
    })?;
    match answered {
        0 => Ok(()),
        count => bail!(
            "--route-uncertain {path} holds answers of people ({count}), which would be lost: give it with \
             --answers, and another name with --route-uncertain",
            path = path.display()
        ),
    }
}

/// Each record of a file for people through `f`. A last line that is torn is of a run that was killed while it
/// wrote that, so nobody has answered there.
///
/// # Errors
/// At another line that is no record, or that `f` refuses.
fn read_each(path: &Path, mut f: impl FnMut(Record) -> Result<(), String>) -> Result<()> {
    let mut reader = Reader::open(path)?;
    loop {
        match reader.next_record() {
            Ok(Some(record)) => f(record).map_err(|what| reader.error(what))?,
            Ok(None) => return Ok(()),
            Err(error) => {
                let is_last = matches!(reader.next_record(), Ok(None));
                if !is_last || !breaks_off(path) {
                    return Err(error.into());
                }
                tracing::warn!(
                    "{error}: left out, as of a run that was killed while it wrote this line"
                );
                return Ok(());
            }
        }
    }
}

/// Whether `path` begins as lines of JSON do, and its last line does not end.
fn breaks_off(path: &Path) -> bool {
    let ends = || {
        let mut file = File::open(path)?;
        let (mut first, mut last) = ([0_u8], [0_u8]);
        file.read_exact(&mut first)?;
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        std::io::Result::Ok([first[0], last[0]])
    };
    ends().is_ok_and(|[first, last]| first == b'{' && last != b'\n')
}

impl Answers {
    /// Lines that nobody has answered yet are none.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is no answer or contradicts one before it.
    fn read(path: &Path) -> Result<Self> {
        let mut by_label: HashMap<String, Answer> = HashMap::new();
        read_each(path, |record| {
            let Some((id, label)) = answer_of(&record)? else { return Ok(()) };
            let before = by_label.get(&id).map(|answer| answer.label);
            if before.is_some_and(|before| before != label) {
                return Err(format!(
                    "\"human\" is not what an earlier line says of \"label_id\" {id}: leave one of them"
                ));
            }
            by_label.insert(id, Answer { label, is_used: false });
            Ok(())
        })?;
        Ok(Self { path: path.to_owned(), by_label })
    }

    fn to(&mut self, id: &LabelId) -> Option<SoftLabel> {
        let answer = self.by_label.get_mut(id.0.as_str())?;
        answer.is_used = true;
        Some(answer.label)
    }
}

/// Which label a line is about and what a person made of it; none where nobody has answered it.
fn answer_of(record: &Record) -> Result<Option<(String, SoftLabel)>, String> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_a_person_is_whole_before_the_run_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ask.jsonl");
        let args = RoutingArgs {
            min_confidence: 0.5,
            tie_band: None,
            route_uncertain: Some(path.clone()),
            answers: None,
        };
        let mut routing = Routing::open(&args).unwrap();
        for number in 1..=3 {
            let record = Record::from_iter([("number".to_owned(), json!(number))]);
            let kept = routing.route(SoftLabel::TIE, Source::Ai, record).unwrap();
            assert_eq!(kept, None);
            // As a kill would leave it: nothing is closed.
            let written = fs::read_to_string(&path).unwrap();
            assert!(written.ends_with("\"human\":null}\n"), "{written}");
            assert_eq!(written.lines().count(), number);
        }
    }
}
