//! AlpacaEval's files: what a model answered, and which of two answers was preferred.

use super::Example;
use super::fields::{finish, name, real, text};
use crate::Record;
use rlaif_types::{Finish, HumanLabel, Pair, Preference, Prompt, SoftLabel};
use serde_json::json;

/// An answer of `generator` to `instruction`.
pub(super) fn read_output(record: &Record) -> Result<Example, String> {
    Ok(Example::Demonstration {
        prompt: Prompt::Text(instruction(record)?),
        response: text(record, "output")?,
        generator: name(record, "generator"),
        finish: finish(record, "finish"),
    })
}

/// `preference` is 1 where the first output is better, 2 where the second is, and may lie between; 0 is a
/// draw, too.
/// Files do not say whether people or a model annotated them; it is kept as the label of people,
/// and `annotator` says who it was.
pub(super) fn read_annotation(record: &Record) -> Result<Preference, String> {
    let pair = Pair {
        prompt: Prompt::Text(instruction(record)?),
        response_a: text(record, "output_1")?,
        response_b: text(record, "output_2")?,
    };
    let label = |preference: f64| {
        let first = if preference == 0.0 { 0.5 } else { 2.0 - preference };
        let prefers_a = SoftLabel::try_from(first).map_err(|_| {
            format!("\"preference\" must be from 1 to 2, or 0 for a draw, not {preference}")
        })?;
        let annotator = name(record, "annotator");
        Ok::<_, String>(HumanLabel { annotator, ..HumanLabel::new(prefers_a) })
    };
    let human = real(record, "preference")?.map(label).transpose()?;
    Ok(Preference { pair, human, ai: None, finish: [Finish::Stop; 2] })
}

/// The instruction, and the input it is about where the record has one (Alpaca's own form).
fn instruction(record: &Record) -> Result<String, String> {
    let instruction = text(record, "instruction")?;
    Ok(match name(record, "input").filter(|input| !input.is_empty()) {
        Some(input) => format!("{instruction}\n\n{input}"),
        None => instruction,
    })
}

pub(super) fn write_output(prompt: &Prompt, response: &str, generator: &str) -> Record {
    Record::from_iter([
        ("instruction".to_owned(), json!(prompt.as_context())),
        ("output".to_owned(), json!(response)),
        ("generator".to_owned(), json!(generator)),
    ])
}

/// A pair that nobody has labelled yet has no `preference`.
pub(super) fn write_annotation(preference: &Preference) -> Record {
    let pair = &preference.pair;
    let mut record = Record::from_iter([
        ("instruction".to_owned(), json!(pair.prompt.as_context())),
        ("output_1".to_owned(), json!(pair.response_a)),
        ("output_2".to_owned(), json!(pair.response_b)),
    ]);
    if let Some(label) = preference.prefers_a() {
        record.insert("preference".into(), json!(1.0 + label.swapped().value()));
    }
    if let Some(annotator) = preference.human.as_ref().and_then(|human| human.annotator.as_ref()) {
        record.insert("annotator".into(), json!(annotator));
    }
    record
}
