//! Demonstrations: a conversation whose last message is the response, or a prompt and its completion. A conversation
//! that ends in the user's message is a prompt.

use super::Example;
use super::fields::{as_messages, finish, has, messages, name, prompt, put_finish, required, text};
use crate::Record;
use rlaif_types::{Finish, Message, Prompt, Role};
use serde_json::{Value, json};

/// `messages`: where the last one is the assistant's, it answers those before it; where it is the user's, nobody has.
pub(super) fn read_messages(record: &Record) -> Result<Example, String> {
    let mut turns = messages(required(record, "messages")?, "messages")?;
    match turns.last().map(|last| last.role) {
        // What was generated stands beside what it continues.
        Some(Role::User) if has_completion(record) => return read_completion(record),
        Some(Role::User) => return Ok(Example::Prompt(Prompt::Messages(turns))),
        Some(Role::Assistant) => {}
        _ => {
            return Err(
                "\"messages\" must end in a message of the assistant, the response, or of the \
                        user where it is a prompt"
                    .into(),
            );
        }
    }
    let response = turns.pop().map(|last| last.content).unwrap_or_default();
    if turns.is_empty() {
        return Err("\"messages\" holds a response without a prompt".into());
    }
    Ok(demonstration(record, Prompt::Messages(turns), response))
}

/// Whether there is a `prompt` with what follows it.
pub(super) fn has_completion(record: &Record) -> bool {
    has(record, "prompt") && (has(record, "completion") || has(record, "response"))
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
    let (generator, finish) = (name(record, "generator"), finish(record, "finish"));
    Example::Demonstration { prompt, response, generator, finish }
}

pub(super) fn write_messages(prompt: &Prompt, response: &str, finish: Finish) -> Record {
    let mut turns = as_messages(prompt);
    turns.push(Message::assistant(response));
    ended(Record::from_iter([("messages".to_owned(), json!(turns))]), finish)
}

pub(super) fn write_text(prompt: &Prompt, response: &str, finish: Finish) -> Record {
    let (prompt, completion) = (json!(prompt.as_context()), json!(response));
    let fields = [("prompt".to_owned(), prompt), ("completion".to_owned(), completion)];
    ended(Record::from_iter(fields), finish)
}

fn ended(mut record: Record, finish: Finish) -> Record {
    put_finish(&mut record, "finish", finish);
    record
}
