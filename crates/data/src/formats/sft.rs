//! Demonstrations: a conversation whose last message is the response, or a prompt and its completion.

use super::Example;
use super::fields::{as_messages, has, messages, name, prompt, required, text};
use crate::Record;
use rlaif_types::{Message, Prompt, Role};
use serde_json::{Value, json};

/// `messages`: the last one, which must be the assistant's, answers those before it.
pub(super) fn read_messages(record: &Record) -> Result<Example, String> {
    let mut turns = messages(required(record, "messages")?, "messages")?;
    let Some(Message { role: Role::Assistant, content }) = turns.pop() else {
        return Err("\"messages\" must end in a message of the assistant".into());
    };
    if turns.is_empty() {
        return Err("\"messages\" holds a response without a prompt".into());
    }
    Ok(demonstration(record, Prompt::Messages(turns), content))
}

/// `prompt` with `completion` (TRL's name) or `response`; a completion may be one message.
pub(super) fn read_completion(record: &Record) -> Result<Example, String> {
    let field = if has(record, "completion") { "completion" } else { "response" };
    let response = match required(record, field)? {
        Value::Array(_) => match messages(required(record, field)?, field)?.as_slice() {
            [Message { role: Role::Assistant, content }] => content.clone(),
            _ => return Err(format!("{field:?} must be one assistant message")),
        },
        _ => text(record, field)?,
    };
    Ok(demonstration(record, prompt(record, "prompt")?, response))
}

fn demonstration(record: &Record, prompt: Prompt, response: String) -> Example {
    Example::Demonstration { prompt, response, generator: name(record, "generator") }
}

pub(super) fn write_messages(prompt: &Prompt, response: &str) -> Record {
    let mut turns = as_messages(prompt);
    turns.push(Message::assistant(response));
    Record::from_iter([("messages".to_owned(), json!(turns))])
}

pub(super) fn write_text(prompt: &Prompt, response: &str) -> Record {
    let (prompt, completion) = (json!(prompt.as_context()), json!(response));
    Record::from_iter([("prompt".to_owned(), prompt), ("completion".to_owned(), completion)])
}
