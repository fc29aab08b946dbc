//! Examples that a stage does not learn from. One rule for fine-tuning, reward models and given preferences: what a
//! model cannot be given as it is, is left out, never cut, and counted in the stage's summary, in the manifest and in
//! the report.

use rlaif_types::{Unscorable, UnscorableReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Why an example is not learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlearnable {
    /// Prompt and response together are longer than the model's context.
    TooLong,
    /// The model cannot be given such a prompt: an empty one, or a conversation without `policy.chat`.
    Unreadable,
    /// The response is empty.
    Empty,
    /// Nobody of those whose labels are learned labelled it.
    Unlabelled,
}

impl fmt::Display for Unlearnable {
    /// Goes on after a number of examples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than the model's context",
            Self::Unreadable => "not readable by the model (conversations need policy.chat)",
            Self::Empty => "with an empty response",
            Self::Unlabelled => "without a label of the kind that is learned",
        })
    }
}

impl From<Unscorable> for Unlearnable {
    /// Of a text that could not be put to the model.
    fn from(why: Unscorable) -> Self {
        match why.reason {
            UnscorableReason::PromptTooLong => Self::TooLong,
            _ => Self::Unreadable,
        }
    }
}

/// How many examples of a stage were left out, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeftOut(BTreeMap<Unlearnable, usize>);

impl LeftOut {
    /// The example where it can be learned from; else it is counted.
    pub fn keep<T>(&mut self, example: Result<T, Unlearnable>) -> Option<T> {
        example.map_err(|why| *self.0.entry(why).or_default() += 1).ok()
    }

    /// Whether every example is learned from.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The counts.
    pub fn iter(&self) -> impl Iterator<Item = (Unlearnable, usize)> {
        self.0.iter().map(|(why, count)| (*why, *count))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.iter().map(|(why, count)| format!("{count} {why}")).collect();
        f.write_str(&each.join(", "))
    }
}
