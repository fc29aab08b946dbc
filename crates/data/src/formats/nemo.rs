//! NeMo-RL's preferences: a context and ranked completions, the lowest rank the best.

use super::fields::{messages, required};
use super::labels;
use crate::Record;
use rlaif_types::{Finish, HumanLabel, Message, Pair, Preference, Prompt, Role};
use serde_json::Value;

/// The number of pairs grows with the square of completions.
const MAX_COMPLETIONS: usize = 16;

/// All pairs of unequal rank, the better one as A: each comparison that the ranking states, as
/// InstructGPT trains on them (Ouyang et al. 2022, section 3.5). Equal ranks say nothing.
pub(super) fn read(record: &Record) -> Result<Vec<Preference>, String> {
    let context = messages(required(record, "context")?, "context")?;
    if context.is_empty() {
        return Err("\"context\" is empty".into());
    }
    let completions = required(record, "completions")?.as_array();
    let completions = completions.ok_or("\"completions\" must be a list")?;
    if !(2..=MAX_COMPLETIONS).contains(&completions.len()) {
        let count = completions.len();
        return Err(format!("{count} \"completions\", not from 2 to {MAX_COMPLETIONS}"));
    }
    let mut ranked = completions.iter().map(completion).collect::<Result<Vec<_>, _>>()?;
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut preferences = Vec::new();
    for (i, (rank, better)) in ranked.iter().enumerate() {
        for (_, worse) in ranked[i + 1..].iter().filter(|(other, _)| other > rank) {
            let pair = Pair {
                prompt: Prompt::Messages(context.clone()),
                response_a: better.clone(),
                response_b: worse.clone(),
            };
            let human = Some(HumanLabel::new(labels::prefers_a()));
            preferences.push(Preference { pair, human, ai: None, finish: [Finish::Stop; 2] });
        }
    }
    Ok(preferences)
}

fn completion(value: &Value) -> Result<(i64, String), String> {
    let rank = value.get("rank").and_then(Value::as_i64);
    let rank = rank.ok_or("a completion has no whole number as its \"rank\"")?;
    let turns = messages(value.get("completion").unwrap_or(&Value::Null), "completion")?;
    match turns.as_slice() {
        [Message { role: Role::Assistant, content }] => Ok((rank, content.clone())),
        _ => Err("a \"completion\" must be one assistant message".into()),
    }
}
