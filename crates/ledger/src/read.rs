//! Entries out of their tables, to the last bit as they were recorded.

use crate::{Answer, Compared, Entry, Money, Presented, Question, Rated, Sample, Setup, Usage};
use rlaif_types::{
    Answered, Item, Judgement, LabelId, OrderScores, Pair, Prompt, Rating, SoftLabel, Unscorable,
    UnscorableReason,
};
use rusqlite::types::Type;
use rusqlite::{Connection, Result, Row};
use serde::de::DeserializeOwned;

/// Attempts with all that [`entry`] reads. A repeated success has no answer of its own and is left
/// out. A `WHERE` has to follow with `AND`.
pub(crate) const SELECT: &str = "
    SELECT a.id AS attempt, a.question, a.reason, a.detail, a.prompt_tokens, a.cached_tokens,
           a.completion_tokens, a.device_ms, a.cost, a.latency_ms, a.attempts, a.worker, a.trace_id,
           a.created_at_ms, q.label_id, q.prompt, q.response_a, q.response_b,
           s.template, s.template_hash, s.model, s.model_hash, s.engine, s.options,
           l.soft_label, l.reward, l.score, l.rationales
    FROM attempts a
    JOIN questions q ON q.id = a.question
    JOIN setups s ON s.id = a.setup
    LEFT JOIN labels l ON l.attempt = a.id AND l.question = a.question
    WHERE (a.reason IS NOT NULL OR l.attempt IS NOT NULL)";

/// The entry of one row of [`SELECT`].
pub(crate) fn entry(db: &Connection, row: &Row<'_>) -> Result<Entry> {
    let prompt: Prompt = json(row, "prompt")?;
    let response_a = row.get("response_a")?;
    let question = match row.get("response_b")? {
        Some(response_b) => Question::Compare(Pair { prompt, response_a, response_b }),
        None => Question::Rate(Item { prompt, response: response_a }),
    };
    Ok(Entry {
        label_id: LabelId(hash(row, "label_id")?),
        outcome: outcome(db, row, &question)?,
        question,
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

fn outcome(db: &Connection, row: &Row<'_>, question: &Question) -> Result<Judgement<Answer>> {
    if row.get::<_, Option<String>>("reason")?.is_some() {
        let reason: UnscorableReason = json(row, "reason")?;
        let detail: String = row.get("detail")?;
        return Ok(Err(Unscorable::new(reason, detail)));
    }
    let id: i64 = row.get("question")?;
    let answer = match question {
        Question::Compare(_) => Answer::Comparison(Compared {
            label: soft_label(row, "soft_label")?,
            samples: samples(db, id)?,
        }),
        Question::Rate(_) => Answer::Rating(Rated {
            rating: Rating {
                reward: row.get("reward")?,
                score: row.get("score")?,
                answers: answers(db, id)?,
            },
            rationales: json(row, "rationales")?,
        }),
    };
    Ok(Ok(answer))
}

fn samples(db: &Connection, question: i64) -> Result<Vec<Sample>> {
    let sample = |row: &Row<'_>| {
        let presented = match row.get::<_, String>("presented")?.as_str() {
            "ab" => Presented::Ab,
            "ba" => Presented::Ba,
            other => return Err(odd(format!("a sample is presented {other:?}"))),
        };
        // SQLite keeps what is not a number as null.
        let logprob =
            |column| row.get::<_, Option<f64>>(column).map(|logprob| logprob.unwrap_or(f64::NAN));
        let scores = OrderScores {
            verdict_logprobs: [logprob("first_logprob")?, logprob("second_logprob")?],
            prefers_first: soft_label(row, "prefers_first")?,
            prompt_tokens: count(row, "prompt_tokens")? as usize,
        };
        Ok(Sample { presented, scores, rationale: row.get("rationale")? })
    };
    db.prepare_cached("SELECT * FROM samples WHERE question = ?1 ORDER BY position")?
        .query_map([question], sample)?
        .collect()
}

fn answers(db: &Connection, question: i64) -> Result<Vec<Answered>> {
    let answer = |row: &Row<'_>| {
        Ok(Answered {
            verdict_logprobs: floats(row, "verdict_logprobs")?,
            distribution: floats(row, "distribution")?,
            prompt_tokens: count(row, "prompt_tokens")? as usize,
        })
    };
    db.prepare_cached("SELECT * FROM answers WHERE question = ?1 ORDER BY position")?
        .query_map([question], answer)?
        .collect()
}

fn floats(row: &Row<'_>, column: &str) -> Result<Vec<f64>> {
    let bytes: Vec<u8> = row.get(column)?;
    let (whole, rest) = bytes.as_chunks::<8>();
    match rest.is_empty() {
        true => Ok(whole.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        false => Err(odd(format!("{column} has {} bytes", bytes.len()))),
    }
}

fn soft_label(row: &Row<'_>, column: &str) -> Result<SoftLabel> {
    SoftLabel::try_from(row.get::<_, f64>(column)?).map_err(odd)
}

fn hash(row: &Row<'_>, column: &str) -> Result<rlaif_types::ContentHash> {
    let text: String = row.get(column)?;
    text.parse().map_err(|what| odd(format!("{column}: {what}")))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|what| odd(format!("{column}: {what}")))
}

/// A value that this version would not have written.
fn odd(what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, what.into())
}
