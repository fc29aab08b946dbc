//! The folder of an evaluation.
//!
//! ```text
//! responses/ARM.jsonl   what each arm answered; an interrupted evaluation goes on with it
//! responses/ARM.json    the same as it is judged, as AlpacaEval's outputs
//! labels.sqlite         the ledger: all that the judge was asked
//! annotations.json      its verdicts, as AlpacaEval's annotations
//! matrix.json           all numbers
//! report.md, report.html
//! ```

use super::responses::Responses;
use anyhow::{Context, Result};
use rlaif_contest::{Contest, Evaluation, document};
use rlaif_data::write_atomic;
use rlaif_report::Sample;
use rlaif_types::Prompt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Contests to read in the report.
const SAMPLES: usize = 6;

/// The folder.
pub struct Output {
    root: PathBuf,
}

impl Output {
    /// The folder at `root`, which need not be there.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Creates it where it is not there.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn create(root: &Path) -> Result<Self> {
        let responses = root.join("responses");
        fs::create_dir_all(&responses)
            .with_context(|| format!("creating {}", responses.display()))?;
        Ok(Self::at(root))
    }

    /// The file of an arm's responses, to go on with.
    pub fn responses(&self, arm: &str) -> PathBuf {
        self.root.join("responses").join(format!("{arm}.jsonl"))
    }

    /// The file of an arm's responses, for others to load.
    pub fn outputs_file(&self, arm: &str) -> PathBuf {
        self.root.join("responses").join(format!("{arm}.json"))
    }

    /// The ledger, where the command line names no other.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("labels.sqlite")
    }

    /// The file of the judge's verdicts.
    pub fn annotations_file(&self) -> PathBuf {
        self.root.join("annotations.json")
    }

    /// The file of all numbers.
    pub fn matrix(&self) -> PathBuf {
        self.root.join("matrix.json")
    }

    /// The reports, for editors and for browsers.
    pub fn reports(&self) -> [PathBuf; 2] {
        ["report.md", "report.html"].map(|name| self.root.join(name))
    }

    /// Writes an arm's responses as AlpacaEval loads them: one array. A prompt without a response is not in it, and so is
    /// not judged there either.
    ///
    /// # Errors
    /// When writing fails.
    pub fn outputs(&self, prompts: &[Prompt], responses: &Responses) -> Result<()> {
        let answered = prompts.iter().zip(&responses.texts);
        let outputs: Vec<Value> = answered
            .filter_map(|(prompt, text)| {
                let (instruction, text) = (prompt.as_context(), text.as_ref().ok()?);
                let generator = &responses.arm;
                Some(json!({"instruction": instruction, "output": text, "generator": generator}))
            })
            .collect();
        let bytes = serde_json::to_vec_pretty(&outputs)?;
        Ok(write_atomic(&self.outputs_file(&responses.arm), &bytes)?)
    }

    /// Writes the verdicts as AlpacaEval has them: 1 where the first output is better, 2 where the
    /// second is, null where it could not be judged.
    ///
    /// # Errors
    /// When writing fails.
    pub fn annotations(
        &self,
        annotator: &str,
        prompts: &[Prompt],
        arms: &[Responses],
        contests: &[Contest],
    ) -> Result<()> {
        let arms = by_name(arms);
        let annotation = |contest: &Contest| -> Value {
            let text = |arm: &str| arms[arm].texts[contest.prompt].as_ref().ok();
            json!({
                "instruction": prompts[contest.prompt].as_context(),
                "output_1": text(&contest.first).map_or("", String::as_str),
                "generator_1": contest.first,
                "output_2": text(&contest.second).map_or("", String::as_str),
                "generator_2": contest.second,
                "annotator": annotator,
                "preference": contest.verdict.map(|verdict| 2.0 - verdict.preference),
            })
        };
        let annotations: Vec<Value> = contests.iter().map(annotation).collect();
        Ok(write_atomic(&self.annotations_file(), &serde_json::to_vec_pretty(&annotations)?)?)
    }

    /// Writes numbers and report, and prints the report.
    ///
    /// # Errors
    /// When writing fails.
    pub fn report(&self, evaluation: &Evaluation, samples: Vec<Sample>) -> Result<()> {
        let matrix = serde_json::to_vec_pretty(evaluation)?;
        write_atomic(&self.matrix(), &matrix)?;
        let whole = document(evaluation, samples);
        let [markdown, html] = self.reports();
        write_atomic(&markdown, whole.to_markdown().as_bytes())?;
        write_atomic(&html, whole.to_html().as_bytes())?;
        println!("{}", document(evaluation, Vec::new()).to_markdown());
        println!("report   {}", html.display());
        Ok(())
    }
}

fn by_name(arms: &[Responses]) -> BTreeMap<&str, &Responses> {
    arms.iter().map(|arm| (arm.arm.as_str(), arm)).collect()
}

/// The first contests of each pair, for people to read: as many of all pairs together as fit a report.
pub fn samples(prompts: &[Prompt], arms: &[Responses], contests: &[Contest]) -> Vec<Sample> {
    let arms = by_name(arms);
    let sample = |contest: &Contest| {
        let verdict = contest.verdict?;
        let text = |arm: &String| {
            let text = arms[arm.as_str()].texts[contest.prompt].as_ref().ok()?;
            Some((arm.clone(), text.clone()))
        };
        Some(Sample {
            prompt: prompts[contest.prompt].as_context(),
            sides: vec![text(&contest.first)?, text(&contest.second)?],
            note: format!("{} is better by {:.3}", contest.first, verdict.preference),
        })
    };
    let mut contests: Vec<&Contest> = contests.iter().collect();
    contests.sort_by_key(|contest| contest.prompt);
    contests.into_iter().filter_map(sample).take(SAMPLES).collect()
}
