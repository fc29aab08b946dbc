//! An arm's responses, one for each prompt, in a file that an interrupted evaluation goes on with.
//!
//! The file has the fields of AlpacaEval's outputs, which `rlaif data` reads. Beside them each line that was generated
//! says by `drawn`, the hash of all that it depends on, whether it still stands for what is asked now.

use super::best_of::{Best, Scoring};
use super::policy::Policy;
use crate::commands::progress_bar;
use anyhow::{Context, Result, bail};
use rlaif_data::{Example, JsonlAppender, Reader, Record, examples_of, write_jsonl_atomic};
use rlaif_job::strip_trailing_junk;
use rlaif_types::{ContentHash, Hasher, Judgement, Prompt, Unscorable, UnscorableReason};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// Prompts answered together. What is answered together decides the last bits, so a chunk is kept
/// whole or made anew.
const CHUNK: usize = 32;

/// A line of `responses/ARM.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    instruction: String,
    output: String,
    generator: String,
    /// Of a response that was generated: hash of model, prompt, sampling, and who chose among draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drawn: Option<ContentHash>,
    /// Of the best of several: its score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    /// Why there is no response; the output is empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unscorable: Option<Unscorable>,
}

/// An arm's responses, in the order of the prompts.
#[derive(Debug, Clone)]
pub struct Responses {
    /// The arm's name.
    pub arm: String,
    /// Each a text, or why there is none.
    pub texts: Vec<Judgement<String>>,
}

impl Responses {
    fn of(arm: &str, lines: Vec<Line>) -> Self {
        let text = |line: Line| line.unscorable.map_or(Ok(line.output), Err);
        Self { arm: arm.to_owned(), texts: lines.into_iter().map(text).collect() }
    }

    /// The same without symbols at the end of texts that are neither words nor the end of a sentence.
    pub fn without_trailing_junk(mut self) -> Self {
        for text in self.texts.iter_mut().flatten() {
            *text = strip_trailing_junk(text).to_owned();
        }
        self
    }

    /// Characters of the response to prompt `number`; 0 where there is none.
    pub fn chars(&self, number: usize) -> usize {
        self.texts[number].as_ref().map_or(0, |text| text.chars().count())
    }
}

/// Generates what `path` does not hold yet.
///
/// # Errors
/// When a model fails, or the file cannot be read or written.
pub fn respond(
    arm: &str,
    policy: &Policy,
    scoring: Option<&Scoring<'_>>,
    prompts: &[Prompt],
    path: &Path,
) -> Result<Responses> {
    // Opened first: that cuts off a line which a kill left behind.
    let mut file = JsonlAppender::open(path)?;
    let known = known(path)?;
    let mut lines = Vec::with_capacity(prompts.len());
    let bar = progress_bar(Some(prompts.len()));
    for chunk in prompts.chunks(CHUNK) {
        let ids: Vec<ContentHash> =
            chunk.iter().map(|prompt| identity(policy, scoring, prompt)).collect();
        let kept: Option<Vec<Line>> = ids.iter().map(|id| known.get(id).cloned()).collect();
        let made = match kept {
            Some(kept) => kept,
            None => {
                let made = make(arm, policy, scoring, chunk, ids)?;
                made.iter().for_each(|line| file.push(line));
                file.sync()?;
                made
            }
        };
        lines.extend(made);
        bar.inc(chunk.len() as u64);
    }
    bar.finish_and_clear();
    drop(file);
    let named = lines.into_iter().map(|line| Line { generator: arm.to_owned(), ..line });
    let lines: Vec<Line> = named.collect();
    write_jsonl_atomic(path, &lines)?;
    Ok(Responses::of(arm, lines))
}

/// Identity of the response to a prompt.
fn identity(policy: &Policy, scoring: Option<&Scoring<'_>>, prompt: &Prompt) -> ContentHash {
    let drawn = policy.drawn_id(prompt);
    let Some(scoring) = scoring else { return drawn };
    let mut hasher = Hasher::new();
    hasher.field("best of").field(drawn.as_str()).field(scoring.identity().as_str());
    hasher.finish()
}

fn known(path: &Path) -> Result<HashMap<ContentHash, Line>> {
    let line = |record: Record| {
        serde_json::from_value::<Line>(Value::Object(record)).map_err(|e| e.to_string())
    };
    let lines = Reader::open(path)?.read_all(line);
    let lines = lines.with_context(|| {
        format!("{} is no file of an evaluation; choose another --out", path.display())
    })?;
    Ok(lines.into_iter().filter_map(|line| Some((line.drawn.clone()?, line))).collect())
}

fn make(
    arm: &str,
    policy: &Policy,
    scoring: Option<&Scoring<'_>>,
    prompts: &[Prompt],
    ids: Vec<ContentHash>,
) -> Result<Vec<Line>> {
    let answers = policy.answer(prompts)?;
    let chosen: Vec<Judgement<(String, Option<f64>)>> = match scoring {
        Some(scoring) => {
            let best = scoring.best(prompts, answers)?.into_iter();
            best.map(|best| best.map(|Best { text, score }| (text, Some(score)))).collect()
        }
        None => {
            let first = |texts: Vec<String>| (texts.into_iter().next().unwrap_or_default(), None);
            answers.into_iter().map(|texts| texts.map(first)).collect()
        }
    };
    let lines = prompts.iter().zip(ids).zip(chosen).map(|((prompt, id), chosen)| {
        let line = line(arm, prompt, chosen);
        Line { drawn: Some(id), ..line }
    });
    Ok(lines.collect())
}

fn line(arm: &str, prompt: &Prompt, response: Judgement<(String, Option<f64>)>) -> Line {
    let (output, score, unscorable) = match response {
        Ok((output, score)) => (output, score, None),
        Err(unscorable) => (String::new(), None, Some(unscorable)),
    };
    let (instruction, generator) = (prompt.as_context(), arm.to_owned());
    Line { instruction, output, generator, drawn: None, score, unscorable }
}

/// The texts of the file `from` to these prompts, the first where there are several; written to
/// `path`, too. A prompt without one has no response.
///
/// # Errors
/// When a record has no response, or no prompt has one.
pub fn given_texts(arm: &str, from: &Path, prompts: &[Prompt], path: &Path) -> Result<Responses> {
    let texts = Reader::open(from)?.read_all(|record| {
        let response = |example: Example| match example {
            Example::Demonstration { prompt, response, .. } => Ok((prompt.as_context(), response)),
            _ => Err("the texts of an arm are a prompt with its response".to_owned()),
        };
        examples_of(&record)?.into_iter().map(response).collect::<Result<Vec<_>, _>>()
    })?;
    let mut by_prompt = HashMap::new();
    for (prompt, response) in texts.into_iter().flatten() {
        by_prompt.entry(prompt).or_insert(response);
    }
    let missing = || {
        let what = format!("{} has no response to this prompt", from.display());
        Unscorable::new(UnscorableReason::BadItem, what)
    };
    let text = |prompt: &Prompt| {
        let found = by_prompt.get(&prompt.as_context()).cloned();
        line(arm, prompt, found.map(|text| (text, None)).ok_or_else(missing))
    };
    let lines: Vec<Line> = prompts.iter().map(text).collect();
    if lines.iter().all(|line| line.unscorable.is_some()) {
        bail!("{} answers none of the prompts; their texts have to be equal", from.display());
    }
    write_jsonl_atomic(path, &lines)?;
    Ok(Responses::of(arm, lines))
}
