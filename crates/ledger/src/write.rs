//! One entry into its tables.

use crate::{Answer, Entry, Error, Question, Setup};
use rlaif_types::canonical_json;
use rusqlite::{Connection, OptionalExtension, Result, params};
use serde::Serialize;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Recorded {
    /// Questions that have their label from now on.
    pub labels: u64,
    /// Answers to questions that had their label: paid twice, and the first label stands.
    pub repeated: u64,
    /// Failures.
    pub unscorable: u64,
}

impl Entry {
    /// Refuses what could not be read back.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fits = match (&self.question, &self.outcome) {
            (Question::Compare(_), Ok(answer)) => matches!(answer, Answer::Comparison(_)),
            (Question::Rate(_), Ok(answer)) => matches!(answer, Answer::Rating(_)),
            (_, Err(_)) => true,
        };
        let bad_entry = |what| Error::BadEntry { label_id: self.label_id.to_string(), what };
        if !fits {
            return Err(bad_entry("a comparison has a rating's answer, or the reverse"));
        }
        if self.outcome.as_ref().is_ok_and(|answer| !answer.is_finite()) {
            return Err(bad_entry(
                "the answer has a number that is not finite; record it as a failure, or f64::MIN for \
                 the log-probability of what cannot be",
            ));
        }
        match self.setup.label_id(&self.question) == self.label_id {
            true => Ok(()),
            false => Err(bad_entry("the id is not that of the question and how it was asked")),
        }
    }
}

/// Inserts `entry` and counts what it was.
pub(crate) fn record(db: &Connection, entry: &Entry, recorded: &mut Recorded) -> Result<()> {
    let setup = setup(db, &entry.setup)?;
    let question = question(db, entry)?;
    let attempt = attempt(db, entry, question, setup)?;
    let answer = match &entry.outcome {
        Ok(answer) => answer,
        Err(_) => {
            recorded.unscorable += 1;
            return Ok(());
        }
    };
    if label(db, answer, question, attempt)? {
        recorded.labels += 1;
    } else {
        recorded.repeated += 1;
    }
    Ok(())
}

/// The row of `setup`: there already, or new.
pub(crate) fn setup(db: &Connection, setup: &Setup) -> Result<i64> {
    let options = canonical_json(&setup.options);
    let values = params![
        setup.model_hash.as_str(),
        setup.template_hash.as_str(),
        setup.engine,
        options,
        setup.model,
        setup.template
    ];
    let found = db
        .prepare_cached(
            "SELECT id FROM setups WHERE model_hash = ?1 AND template_hash = ?2 AND engine = ?3
             AND options = ?4 AND model = ?5 AND template = ?6",
        )?
        .query_row(values, |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => db
            .prepare_cached(
                "INSERT INTO setups (model_hash, template_hash, engine, options, model, template)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .insert(values),
    }
}

/// The row of the entry's question: there already, or new.
fn question(db: &Connection, entry: &Entry) -> Result<i64> {
    let id = entry.label_id.to_string();
    let found = db
        .prepare_cached("SELECT id FROM questions WHERE label_id = ?1")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    if let Some(row) = found {
        return Ok(row);
    }
    let (prompt, response_a, response_b) = match &entry.question {
        Question::Compare(pair) => (&pair.prompt, &pair.response_a, Some(&pair.response_b)),
        Question::Rate(item) => (&item.prompt, &item.response, None),
    };
    db.prepare_cached(
        "INSERT INTO questions (label_id, prompt, response_a, response_b) VALUES (?1, ?2, ?3, ?4)",
    )?
    .insert(params![id, json(prompt), response_a, response_b])
}

fn attempt(db: &Connection, entry: &Entry, question: i64, setup: i64) -> Result<i64> {
    let unscorable = entry.outcome.as_ref().err();
    db.prepare_cached(
        "INSERT INTO attempts (question, setup, reason, detail, prompt_tokens, cached_tokens,
         completion_tokens, device_ms, cost, latency_ms, attempts, worker, trace_id, created_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?
    .insert(params![
        question,
        setup,
        unscorable.map(|u| json(&u.reason)),
        unscorable.map(|u| &u.detail),
        integer(entry.usage.prompt_tokens),
        integer(entry.usage.cached_tokens),
        integer(entry.usage.completion_tokens),
        integer(entry.usage.device_ms),
        integer(entry.cost.picodollars()),
        integer(entry.latency_ms),
        entry.attempts,
        entry.worker,
        entry.trace_id,
        integer(entry.created_at_ms),
    ])
}

/// Makes the answer the question's label unless it has one; whether it did.
fn label(db: &Connection, answer: &Answer, question: i64, attempt: i64) -> Result<bool> {
    let (kind, soft_label, rating, whole) = match answer {
        Answer::Comparison(comparison) => {
            ("comparison", Some(comparison.label.value()), None, json(comparison))
        }
        Answer::Rating(rating) => ("rating", None, Some(rating), json(rating)),
    };
    let inserted = db
        .prepare_cached(
            "INSERT INTO labels
             (question, attempt, kind, soft_label, reward, score, verdict_mass, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (question) DO NOTHING",
        )?
        .execute(params![
            question,
            attempt,
            kind,
            soft_label,
            rating.map(|r| r.reward),
            rating.map(|r| r.score),
            answer.verdict_mass(),
            whole,
        ])?;
    Ok(inserted > 0)
}

/// SQLite's integers are signed. Counts of more than 2⁶³ do not occur; they would read as that.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data with string keys is written to memory")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rlaif_types::{Comparison, ContentHash, OrderScores, Pair, Prompt, SoftLabel};
    use rlaif_types::{Money, Usage};
    use std::ops::Range;

    /// Labelled comparisons, each another question.
    pub(crate) fn entries(numbers: Range<u32>) -> Vec<Entry> {
        numbers.map(entry).collect()
    }

    fn entry(number: u32) -> Entry {
        let setup = Setup {
            template: "helpful/base".into(),
            template_hash: ContentHash::of("template"),
            model: "model".into(),
            model_hash: ContentHash::of("model"),
            engine: "local".into(),
            options: serde_json::json!({}),
        };
        let question = Question::Compare(Pair {
            prompt: Prompt::Text(format!("prompt {number}")),
            response_a: "yes".into(),
            response_b: "no".into(),
        });
        let order = |first: f64| OrderScores {
            verdict_logprobs: [first, -1.0],
            prefers_first: SoftLabel::from_logprobs(first, -1.0).unwrap(),
            prompt_tokens: 100,
            completion_tokens: 0,
            rationales: Vec::new(),
        };
        let (ab, ba) = (order(-f64::from(number % 7) / 3.0), order(-0.9));
        let label = SoftLabel::from_both_orders(ab.prefers_first, ba.prefers_first);
        Entry {
            label_id: setup.label_id(&question),
            question,
            outcome: Ok(Answer::Comparison(Comparison { label, ab, ba })),
            setup,
            usage: Usage { prompt_tokens: 200, ..Usage::default() },
            cost: Money::default(),
            latency_ms: 5,
            attempts: 1,
            worker: None,
            trace_id: None,
            created_at_ms: 1_700_000_000_000,
        }
    }
}
