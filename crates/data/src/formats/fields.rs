//! Fields of a record, read alike in all formats. A null field is a missing one: rows of Parquet
//! have all columns.

use crate::Record;
use rlaif_types::{Finish, Message, Prompt};
use serde::Deserialize;
use serde_json::{Value, json};

/// The field, where it is there and not null.
pub(super) fn get<'a>(record: &'a Record, field: &str) -> Option<&'a Value> {
    record.get(field).filter(|value| !value.is_null())
}

/// Whether the field is there and not null.
pub(super) fn has(record: &Record, field: &str) -> bool {
    get(record, field).is_some()
}

/// The field, which must be there.
pub(super) fn required<'a>(record: &'a Record, field: &str) -> Result<&'a Value, String> {
    get(record, field).ok_or_else(|| format!("field {field:?} is missing"))
}

/// The field's text.
pub(crate) fn text(record: &Record, field: &str) -> Result<String, String> {
    match required(record, field)? {
        Value::String(text) => Ok(text.clone()),
        _ => Err(format!("field {field:?} must be a string")),
    }
}

/// The field's text, where it has any; a number as its digits, since ids are often numbers.
pub(super) fn name(record: &Record, field: &str) -> Option<String> {
    match get(record, field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The field's number, where it is there.
pub(super) fn real(record: &Record, field: &str) -> Result<Option<f64>, String> {
    get(record, field)
        .map(|value| value.as_f64().ok_or_else(|| format!("field {field:?} must be a number")))
        .transpose()
}

/// How a response ended, as the field has it; one of which nothing else is said came to its end.
pub(super) fn finish(record: &Record, field: &str) -> Finish {
    match get(record, field) {
        Some(said) if *said == json!(Finish::Length) => Finish::Length,
        _ => Finish::Stop,
    }
}

/// Says of a response that was cut off that it was.
pub(super) fn put_finish(record: &mut Record, field: &str, finish: Finish) {
    if !finish.is_stop() {
        record.insert(field.into(), json!(finish));
    }
}

/// The field's prompt: a string, or a list of messages that is not empty.
pub(crate) fn prompt(record: &Record, field: &str) -> Result<Prompt, String> {
    match required(record, field)? {
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(turns) if turns.is_empty() => Err(format!("{field:?} is empty")),
        value => messages(value, field).map(Prompt::Messages).map_err(|_| {
            format!("{field:?} must be a string or a list of {{\"role\", \"content\"}} messages")
        }),
    }
}

/// The messages that `value`, the value of `field`, lists.
pub(super) fn messages(value: &Value, field: &str) -> Result<Vec<Message>, String> {
    let listed = Vec::<Message>::deserialize(value);
    listed.map_err(|_| {
        format!("{field:?} must be a string or a list of messages of system, user or assistant")
    })
}

/// A prompt as messages; text is what a user says.
pub(super) fn as_messages(prompt: &Prompt) -> Vec<Message> {
    match prompt {
        Prompt::Text(text) => vec![Message::user(text)],
        Prompt::Messages(turns) => turns.clone(),
    }
}
