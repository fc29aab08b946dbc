//! TRL's preferences: a chosen and a rejected side, as text or messages; `chosen` becomes A.
//!
//! Without a prompt, and where both sides repeat it, what both sides begin with is the prompt. Beside sides of text
//! the prompt may also be called `messages`; beside messages that name is taken, by UltraFeedback, for the chosen side.

use super::fields::{get, has, messages, prompt, required};
use super::{fields, labels};
use crate::Record;
use rlaif_types::{Message, Pair, Preference, Prompt, Role};
use serde_json::{Value, json};

pub(super) fn read(record: &Record) -> Result<Preference, String> {
    let (chosen, rejected) = (required(record, "chosen")?, required(record, "rejected")?);
    let pair = match (chosen, rejected) {
        (Value::String(chosen), Value::String(rejected)) => {
            match ["prompt", "messages"].into_iter().find(|field| has(record, field)) {
                Some(field) => Pair {
                    prompt: prompt(record, field)?,
                    response_a: chosen.clone(),
                    response_b: rejected.clone(),
                },
                None => shared_text(chosen, rejected)?,
            }
        }
        _ => {
            let prompt = get(record, "prompt").map(|_| prompt(record, "prompt")).transpose()?;
            let sides = (messages(chosen, "chosen")?, messages(rejected, "rejected")?);
            message_pair(prompt, sides.0, sides.1)?
        }
    };
    labels::read(record, pair, true)
}

/// The prompt is the text that both begin with, without a blank at its end: TRL's own rule.
fn shared_text(chosen: &str, rejected: &str) -> Result<Pair, String> {
    let equal = chosen.chars().zip(rejected.chars()).take_while(|(a, b)| a == b);
    let shared: usize = equal.map(|(c, _)| c.len_utf8()).sum();
    let prompt = chosen[..shared].strip_suffix(' ').unwrap_or(&chosen[..shared]);
    if prompt.is_empty() {
        return Err(
            "\"prompt\" is missing, and \"chosen\" and \"rejected\" begin differently".into()
        );
    }
    Ok(Pair {
        prompt: Prompt::Text(prompt.to_owned()),
        response_a: chosen[prompt.len()..].to_owned(),
        response_b: rejected[prompt.len()..].to_owned(),
    })
}

fn message_pair(
    prompt: Option<Prompt>,
    mut chosen: Vec<Message>,
    mut rejected: Vec<Message>,
) -> Result<Pair, String> {
    let prompt = match prompt {
        // UltraFeedback's form: a prompt, which both sides begin with once more.
        Some(prompt) if chosen.len() == 1 && rejected.len() == 1 => prompt,
        _ => {
            let shared = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
            // The last message is the response even where both sides say the same.
            let shared = shared.min(chosen.len().saturating_sub(1));
            let shared = shared.min(rejected.len().saturating_sub(1));
            rejected.drain(..shared);
            Prompt::Messages(chosen.drain(..shared).collect())
        }
    };
    if matches!(&prompt, Prompt::Messages(turns) if turns.is_empty()) {
        return Err("\"prompt\" is missing, and the sides share no message".into());
    }
    Ok(Pair {
        prompt,
        response_a: response(chosen, "chosen")?,
        response_b: response(rejected, "rejected")?,
    })
}

fn response(mut side: Vec<Message>, field: &str) -> Result<String, String> {
    match (side.pop(), side.is_empty()) {
        (Some(Message { role: Role::Assistant, content }), true) => Ok(content),
        _ => Err(format!("{field:?} must end in exactly one assistant message of its own")),
    }
}

/// As messages; a prompt of text becomes the message of a user. A must be the preferred side.
pub(super) fn write_messages(preference: &Preference) -> Record {
    let side = |response: &str| json!([{"role": "assistant", "content": response}]);
    let prompt = json!(fields::as_messages(&preference.pair.prompt));
    write(preference, prompt, side)
}

/// As text; a prompt of messages becomes what a labeler reads. A must be the preferred side.
pub(super) fn write_text(preference: &Preference) -> Record {
    write(preference, json!(preference.pair.prompt.as_context()), |response| json!(response))
}

fn write(preference: &Preference, prompt: Value, side: impl Fn(&str) -> Value) -> Record {
    let mut record = Record::new();
    record.insert("prompt".into(), prompt);
    record.insert("chosen".into(), side(&preference.pair.response_a));
    record.insert("rejected".into(), side(&preference.pair.response_b));
    labels::write(&mut record, preference, true);
    record
}
