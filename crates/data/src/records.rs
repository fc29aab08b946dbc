//! What a record means: prompts, pairs to compare, preferences in TRL's format.

use crate::Record;
use rlaif_types::{Message, Pair, Prompt, Role, SoftLabel};
use serde_json::{Value, json};

/// The `text` of a record.
///
/// # Errors
/// When it has none.
pub fn text_of(record: &Record) -> Result<String, String> {
    string(record, "text")
}

/// The `response` of a record.
///
/// # Errors
/// When it has none.
pub fn response_of(record: &Record) -> Result<String, String> {
    string(record, "response")
}

/// The `prompt` of a record: a string, or a list of messages.
///
/// # Errors
/// When it is neither, or empty.
pub fn prompt_of(record: &Record) -> Result<Prompt, String> {
    let value = record.get("prompt").ok_or("field \"prompt\" is missing")?;
    let prompt: Prompt = serde_json::from_value(value.clone()).map_err(|_| {
        "\"prompt\" must be a string or a list of {\"role\", \"content\"} messages".to_owned()
    })?;
    match &prompt {
        Prompt::Messages(messages) if messages.is_empty() => Err("\"prompt\" is empty".into()),
        _ => Ok(prompt),
    }
}

/// The two candidates of a record: `prompt` with `response_a` and `response_b`; TRL's `chosen` and
/// `rejected` (strings or messages, with a `prompt` or sharing their first messages); or
/// Anthropic's HH text pairs.
///
/// # Errors
/// When it is none of these.
pub fn pair_of(record: &Record) -> Result<Pair, String> {
    if record.contains_key("response_a") || record.contains_key("response_b") {
        return Ok(Pair {
            prompt: prompt_of(record)?,
            response_a: string(record, "response_a")?,
            response_b: string(record, "response_b")?,
        });
    }
    let missing = || {
        "expected \"prompt\" with \"response_a\" and \"response_b\", or \"chosen\" and \"rejected\""
            .to_owned()
    };
    let (a, b) =
        (record.get("chosen").ok_or_else(missing)?, record.get("rejected").ok_or_else(missing)?);
    match (a, b) {
        (Value::String(a), Value::String(b)) if record.contains_key("prompt") => {
            let (response_a, response_b) = (a.clone(), b.clone());
            Ok(Pair { prompt: prompt_of(record)?, response_a, response_b })
        }
        (Value::String(a), Value::String(b)) => hh_pair(a, b),
        _ => {
            let prompt = record.contains_key("prompt").then(|| prompt_of(record)).transpose()?;
            message_pair(prompt, messages(a, "chosen")?, messages(b, "rejected")?)
        }
    }
}

fn string(record: &Record, field: &str) -> Result<String, String> {
    match record.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("field {field:?} must be a string")),
        None => Err(format!("field {field:?} is missing")),
    }
}

fn messages(value: &Value, field: &str) -> Result<Vec<Message>, String> {
    serde_json::from_value(value.clone())
        .map_err(|_| format!("{field:?} must be a string or a list of messages"))
}

/// TRL's conversational form. Without a prompt, the messages both sides share are the prompt.
fn message_pair(
    prompt: Option<Prompt>,
    mut a: Vec<Message>,
    mut b: Vec<Message>,
) -> Result<Pair, String> {
    let prompt = prompt.unwrap_or_else(|| {
        let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        // The last message is the response even where both sides say the same.
        let shared = shared.min(a.len().saturating_sub(1)).min(b.len().saturating_sub(1));
        b.drain(..shared);
        Prompt::Messages(a.drain(..shared).collect())
    });
    let response = |messages: Vec<Message>, field: &str| match messages.as_slice() {
        [Message { role: Role::Assistant, content }] => Ok(content.clone()),
        _ => Err(format!("{field:?} must end in exactly one assistant message of its own")),
    };
    Ok(Pair { prompt, response_a: response(a, "chosen")?, response_b: response(b, "rejected")? })
}

/// HH-RLHF: two transcripts `\n\nHuman: ...\n\nAssistant: ...` that share all but the last turn.
fn hh_pair(a: &str, b: &str) -> Result<Pair, String> {
    const TURN: &str = "\n\nAssistant:";
    let split = |text: &str| {
        let at = text.rfind(TURN).ok_or("a transcript has no \"\\n\\nAssistant:\" turn")?;
        Ok::<_, String>((text[..at].to_owned(), text[at + TURN.len()..].trim().to_owned()))
    };
    let ((context, response_a), (other, response_b)) = (split(a)?, split(b)?);
    if context != other {
        return Err("the two transcripts differ before their last answer".into());
    }
    let mut turns = Vec::new();
    for part in context.split("\n\nHuman:").filter(|part| !part.trim().is_empty()) {
        let mut speakers = part.split(TURN);
        turns.push(Message::user(speakers.next().unwrap_or_default().trim()));
        turns.extend(speakers.map(|said| Message::assistant(said.trim())));
    }
    Ok(Pair { prompt: Prompt::Messages(turns), response_a, response_b })
}

/// The input record as a TRL preference: `chosen` is the candidate the label prefers (A where it is
/// undecided), `soft_label` the probability that **A**, the first candidate of the input, is
/// preferred. All other fields of the input are kept, and both candidates by name.
pub fn preference_record(input: &Record, pair: &Pair, label: SoftLabel) -> Record {
    let (chosen, rejected) = if label.value() >= 0.5 {
        (&pair.response_a, &pair.response_b)
    } else {
        (&pair.response_b, &pair.response_a)
    };
    let side = |response: &String| match pair.prompt {
        Prompt::Text(_) => json!(response),
        Prompt::Messages(_) => json!([{"role": "assistant", "content": response}]),
    };
    let mut record = input.clone();
    record.insert("prompt".into(), json!(pair.prompt));
    record.insert("chosen".into(), side(chosen));
    record.insert("rejected".into(), side(rejected));
    record.insert("response_a".into(), json!(pair.response_a));
    record.insert("response_b".into(), json!(pair.response_b));
    record.insert("soft_label".into(), json!(label));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: Value) -> Record {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn all_forms_of_a_pair_read_alike() {
        let forms = [
            json!({"prompt": [{"role": "user", "content": "Hi"}], "response_a": "Yo", "response_b": "No"}),
            json!({"prompt": [{"role": "user", "content": "Hi"}],
                   "chosen": [{"role": "assistant", "content": "Yo"}],
                   "rejected": [{"role": "assistant", "content": "No"}]}),
            json!({"chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
                   "rejected": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No"}]}),
            json!({"chosen": "\n\nHuman: Hi\n\nAssistant: Yo", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}),
        ];
        let pairs: Vec<Pair> = forms.into_iter().map(|f| pair_of(&record(f)).unwrap()).collect();
        assert!(pairs.windows(2).all(|w| w[0] == w[1]), "{pairs:?}");
    }

    #[test]
    fn a_preference_keeps_the_inputs_fields_and_says_who_a_is() {
        let input =
            record(json!({"id": 7, "prompt": "Hi", "response_a": "Yo", "response_b": "No"}));
        let pair = pair_of(&input).unwrap();
        let output = preference_record(&input, &pair, SoftLabel::new(0.25).unwrap());
        assert_eq!(output["id"], 7);
        assert_eq!((&output["chosen"], &output["rejected"]), (&json!("No"), &json!("Yo")));
        assert_eq!(output["soft_label"], 0.25);
        assert_eq!(pair_of(&output).unwrap(), pair);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |json| pair_of(&record(json)).unwrap_err();
        assert!(error(json!({"prompt": "x", "response_a": "y"})).contains("response_b"));
        assert!(error(json!({"prompt": "x"})).contains("chosen"));
        assert!(
            error(json!({"prompt": 3, "response_a": "", "response_b": ""})).contains("messages")
        );
    }
}
