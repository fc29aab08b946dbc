//! OpenAI's human comparisons of summaries (Stiennon et al. 2020): Reddit posts, and news articles.

use super::fields::{get, name, required, text};
use super::labels;
use crate::Record;
use rlaif_types::{HumanLabel, Pair, Preference, Prompt, SoftLabel};
use serde_json::Value;

/// The first summary becomes A. The summaries' leading blank, left from sampling, is cut off.
pub(super) fn read(record: &Record) -> Result<Preference, String> {
    let summaries = required(record, "summaries")?.as_array();
    let Some([a, b]) = summaries.map(Vec::as_slice) else {
        return Err("\"summaries\" must be a list of two".into());
    };
    let prompt = Prompt::Text(query(object(record, "info")?)?);
    let pair = Pair { prompt, response_a: summary(a)?, response_b: summary(b)? };
    Ok(Preference { pair, human: human(record)?, ai: None })
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
    let body = text(info, field).map_err(|_| "\"info\" has no text \"post\" or \"article\"")?;
    Ok(query + &format!("{mark}: {}\n\nTL;DR:", body.trim()))
}

fn summary(value: &Value) -> Result<String, String> {
    let text = value.get("text").and_then(Value::as_str);
    text.map(|text| text.trim().to_owned()).ok_or("a summary has no \"text\"".into())
}

fn human(record: &Record) -> Result<Option<HumanLabel>, String> {
    let Some(choice) = get(record, "choice") else { return Ok(None) };
    let prefers_a = match choice.as_u64() {
        Some(0) => labels::prefers_a(),
        Some(1) => SoftLabel::swapped(labels::prefers_a()),
        _ => return Err(format!("\"choice\" must be 0 or 1, not {choice}")),
    };
    let confidence = match get(record, "extra") {
        Some(_) => labels::confidence(object(record, "extra")?, "confidence")?,
        None => None,
    };
    let annotator = name(record, "worker");
    Ok(Some(HumanLabel { prefers_a, confidence, margin: None, annotator }))
}

fn object<'a>(record: &'a Record, field: &str) -> Result<&'a Record, String> {
    required(record, field)?.as_object().ok_or_else(|| format!("{field:?} must be an object"))
}
