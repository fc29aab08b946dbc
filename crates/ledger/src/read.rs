//! Entries out of their tables, to the last bit as they were recorded.

use crate::{Answer, Entry, Question, Setup};
use rlaif_types::{
    ContentHash, Item, Judgement, LabelId, Money, Pair, Prompt, Unscorable, UnscorableReason, Usage,
};
use rusqlite::types::Type;
use rusqlite::{Result, Row};
use serde::de::DeserializeOwned;

/// Attempts with all that [`entry`] reads. A repeated success has no answer of its own and is left
/// out. A `WHERE` has to follow with `AND`.
pub(crate) const SELECT: &str = "
    SELECT a.id AS attempt, a.question, a.reason, a.detail, a.prompt_tokens, a.cached_tokens,
           a.completion_tokens, a.device_ms, a.cost, a.latency_ms, a.attempts, a.worker, a.trace_id,
           a.created_at_ms, q.label_id, q.prompt, q.response_a, q.response_b,
           s.template, s.template_hash, s.model, s.model_hash, s.engine, s.options,
           l.kind, l.answer
    FROM attempts a
    JOIN questions q ON q.id = a.question
    JOIN setups s ON s.id = a.setup
    LEFT JOIN labels l ON l.attempt = a.id AND l.question = a.question
    WHERE (a.reason IS NOT NULL OR l.attempt IS NOT NULL)";

/// The entry of one row of [`SELECT`].
pub(crate) fn entry(row: &Row<'_>) -> Result<Entry> {
    let prompt: Prompt = json(row, "prompt")?;
    let response_a = row.get("response_a")?;
    let question = match row.get("response_b")? {
        Some(response_b) => Question::Compare(Pair { prompt, response_a, response_b }),
        None => Question::Rate(Item { prompt, response: response_a }),
    };
    Ok(Entry {
        label_id: LabelId(hash(row, "label_id")?),
        question,
        outcome: outcome(row)?,
        setup: Setup {
            template: row.get("template")?,
            template_hash: hash(row, "template_hash")?,
            model: row.get("model")?,
            model_hash: hash(row, "model_hash")?,
            engine: row.get("engine")?,
            options: json(row, "options")?,
        },
        usage: usage(row)?,
        cost: Money::from_picodollars(count(row, "cost")?),
        latency_ms: count(row, "latency_ms")?,
        attempts: row.get("attempts")?,
        worker: row.get("worker")?,
        trace_id: row.get("trace_id")?,
        created_at_ms: count(row, "created_at_ms")?,
    })
}

/// The columns of [`Usage`], which bear its fields' names.
pub(crate) fn usage(row: &Row<'_>) -> Result<Usage> {
    Ok(Usage {
        prompt_tokens: count(row, "prompt_tokens")?,
        cached_tokens: count(row, "cached_tokens")?,
        completion_tokens: count(row, "completion_tokens")?,
        device_ms: count(row, "device_ms")?,
    })
}

/// A column that counts something.
pub(crate) fn count(row: &Row<'_>, column: &str) -> Result<u64> {
    let count: i64 = row.get(column)?;
    u64::try_from(count).map_err(|_| odd(format!("{column} is {count}")))
}

fn outcome(row: &Row<'_>) -> Result<Judgement<Answer>> {
    if row.get::<_, Option<String>>("reason")?.is_some() {
        let reason: UnscorableReason = json(row, "reason")?;
        let detail: String = row.get("detail")?;
        return Ok(Err(Unscorable::new(reason, detail)));
    }
    let answer = match row.get::<_, String>("kind")?.as_str() {
        "comparison" => Answer::Comparison(json(row, "answer")?),
        "rating" => Answer::Rating(json(row, "answer")?),
        other => return Err(odd(format!("a label is a {other:?}"))),
    };
    Ok(Ok(answer))
}

/// A column that holds a hash.
pub(crate) fn hash(row: &Row<'_>, column: &str) -> Result<ContentHash> {
    let text: String = row.get(column)?;
    text.parse().map_err(|what| odd(format!("{column}: {what}")))
}

/// A column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|what| odd(format!("{column}: {what}")))
}

/// A value that this version would not have written.
pub(crate) fn odd(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, what.into())
}
