//! Anthropic's HH-RLHF: two transcripts that share all but the last answer.

use super::fields::{as_messages, text};
use super::labels;
use crate::Record;
use rlaif_types::{Message, Pair, Preference, Prompt, Role};
use serde_json::{Value, json};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// Whether the sides are transcripts, by their marks.
pub(super) fn is_transcript(record: &Record) -> bool {
    let side = |field| record.get(field).and_then(Value::as_str);
    [side("chosen"), side("rejected")].into_iter().flatten().any(|side| side.contains(ASSISTANT))
}

pub(super) fn read(record: &Record) -> Result<Preference, String> {
    let (chosen, rejected) = (text(record, "chosen")?, text(record, "rejected")?);
    let ((context, response_a), (other, response_b)) =
        (last_answer(&chosen)?, last_answer(&rejected)?);
    if context != other {
        return Err("the two transcripts differ before their last answer".into());
    }
    let turns = turns(context);
    if turns.is_empty() {
        return Err("a transcript has no \"\\n\\nHuman:\" turn".into());
    }
    let prompt = Prompt::Messages(turns);
    labels::read(record, Pair { prompt, response_a, response_b }, true)
}

/// What comes before the last answer, and the answer.
fn last_answer(transcript: &str) -> Result<(&str, String), String> {
    let (context, answer) =
        transcript.rsplit_once(ASSISTANT).ok_or("a transcript has no \"\\n\\nAssistant:\" turn")?;
    Ok((context, answer.trim().to_owned()))
}

fn turns(context: &str) -> Vec<Message> {
    let mut turns = Vec::new();
    for part in context.split(HUMAN) {
        let mut speakers = part.split(ASSISTANT);
        let asked = speakers.next().unwrap_or_default().trim();
        if !asked.is_empty() {
            turns.push(Message::user(asked));
        }
        turns.extend(speakers.map(|said| Message::assistant(said.trim())));
    }
    turns
}

/// As transcripts, which have no place for labels. A must be the preferred side.
///
/// # Errors
/// When a turn is of the system, says nothing, or holds a transcript's marks.
pub(super) fn write(preference: &Preference) -> Result<Record, String> {
    let pair = &preference.pair;
    let mut context = String::new();
    for turn in as_messages(&pair.prompt) {
        let mark = match turn.role {
            Role::User if turn.content.trim().is_empty() => {
                return Err("a transcript has no empty questions".into());
            }
            Role::User => HUMAN,
            Role::Assistant => ASSISTANT,
            Role::System => return Err("a transcript has no place for a system message".into()),
        };
        context += &said(mark, &turn.content)?;
    }
    let mut record = Record::new();
    for (field, response) in [("chosen", &pair.response_a), ("rejected", &pair.response_b)] {
        record.insert(field.into(), json!(format!("{context}{}", said(ASSISTANT, response)?)));
    }
    Ok(record)
}

fn said(mark: &str, content: &str) -> Result<String, String> {
    let turn = format!(" {}", content.trim());
    if [HUMAN, ASSISTANT].iter().any(|mark| turn.contains(mark)) {
        return Err("a message holds \"\\n\\nHuman:\" or \"\\n\\nAssistant:\"".into());
    }
    Ok(mark.to_owned() + &turn)
}
