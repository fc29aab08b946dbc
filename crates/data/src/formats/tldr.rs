//! OpenAI's human comparisons of summaries (Stiennon et al. 2020): Reddit posts, and news articles. As published, and
//! in one level, as exports to tables have them: `post` and its fellows beside `summary_0` and `summary_1`.

use super::fields::{finish, get, has, name, required, text};
use super::{Example, labels};
use crate::Record;
use rlaif_types::{Finish, HumanLabel, Pair, Preference, Prompt, SoftLabel};
use serde_json::Value;

/// The first summary becomes A. The summaries' leading blank, left from sampling, is cut off.
pub(super) fn read(record: &Record) -> Result<Preference, String> {
    if !has(record, "summaries") {
        return read_columns(record);
    }
    let summaries = required(record, "summaries")?.as_array();
    let Some([a, b]) = summaries.map(Vec::as_slice) else {
        return Err("\"summaries\" must be a list of two".into());
    };
    let about = object(record, "info")?;
    let details = get(record, "extra").map(|_| object(record, "extra")).transpose()?;
    preference(record, about, [summary(a)?, summary(b)?], details)
}

/// All in one level.
fn read_columns(record: &Record) -> Result<Preference, String> {
    let summary = |field| Ok::<_, String>(text(record, field)?.trim().to_owned());
    preference(record, record, [summary("summary_0")?, summary("summary_1")?], Some(record))
}

/// A post and, where a person wrote one, its summary.
pub(super) fn read_post(record: &Record) -> Result<Example, String> {
    let prompt = Prompt::Text(query(record)?);
    Ok(match ["summary", "reference"].into_iter().find(|field| has(record, field)) {
        Some(field) => Example::Demonstration {
            prompt,
            response: text(record, field)?.trim().to_owned(),
            generator: None,
            finish: finish(record, "finish"),
        },
        None => Example::Prompt(prompt),
    })
}

/// `about` says what the summaries are of, `details` how sure the annotator was.
fn preference(
    record: &Record,
    about: &Record,
    [response_a, response_b]: [String; 2],
    details: Option<&Record>,
) -> Result<Preference, String> {
    let pair = Pair { prompt: Prompt::Text(query(about)?), response_a, response_b };
    let human = human(record, details)?;
    Ok(Preference { pair, human, ai: None, finish: [Finish::Stop; 2] })
}

/// What the summary is of, in the form in which the dataset's authors put it to a model:
/// `SUBREDDIT: r/...`, `TITLE: ...`, `POST: ...`, `TL;DR:`, an empty line between them.
fn query(info: &Record) -> Result<String, String> {
    let mut query = String::new();
    if let Some(subreddit) = name(info, "subreddit") {
        query += &format!("SUBREDDIT: r/{}\n\n", subreddit.trim());
    }
    if let Some(title) = name(info, "title") {
        query += &format!("TITLE: {}\n\n", title.trim());
    }
    let (mark, field) = match get(info, "post") {
        Some(_) => ("POST", "post"),
        None => ("ARTICLE", "article"),
    };
    let body = text(info, field).map_err(|_| "there is no text \"post\" or \"article\"")?;
    Ok(query + &format!("{mark}: {}\n\nTL;DR:", body.trim()))
}

fn summary(value: &Value) -> Result<String, String> {
    let text = value.get("text").and_then(Value::as_str);
    text.map(|text| text.trim().to_owned()).ok_or("a summary has no \"text\"".into())
}

fn human(record: &Record, details: Option<&Record>) -> Result<Option<HumanLabel>, String> {
    let Some(choice) = get(record, "choice") else { return Ok(None) };
    let prefers_a = match choice.as_u64() {
        Some(0) => labels::prefers_a(),
        Some(1) => SoftLabel::swapped(labels::prefers_a()),
        _ => return Err(format!("\"choice\" must be 0 or 1, not {choice}")),
    };
    let confidence = details.map(|details| labels::confidence(details, "confidence"));
    let confidence = confidence.transpose()?.flatten();
    let annotator = name(record, "worker");
    Ok(Some(HumanLabel { prefers_a, confidence, margin: None, annotator }))
}

fn object<'a>(record: &'a Record, field: &str) -> Result<&'a Record, String> {
    required(record, field)?.as_object().ok_or_else(|| format!("{field:?} must be an object"))
}
