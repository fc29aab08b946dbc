//! Our own pairs: candidates by name, so that they can be labelled before anything is chosen.

use super::fields::{prompt, text};
use super::labels;
use crate::Record;
use rlaif_types::{Pair, Preference};
use serde_json::json;

pub(super) fn read(record: &Record) -> Result<Preference, String> {
    let pair = Pair {
        prompt: prompt(record, "prompt")?,
        response_a: text(record, "response_a")?,
        response_b: text(record, "response_b")?,
    };
    labels::read(record, pair, false)
}

pub(super) fn write(preference: &Preference) -> Record {
    let pair = &preference.pair;
    let mut record = Record::new();
    record.insert("prompt".into(), json!(pair.prompt));
    record.insert("response_a".into(), json!(pair.response_a));
    record.insert("response_b".into(), json!(pair.response_b));
    labels::write(&mut record, preference, false);
    record
}
