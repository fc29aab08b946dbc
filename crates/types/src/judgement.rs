//! The outcome of asking a labeler: a value, or a typed failure that stays a failure.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a judgement has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnscorableReason {
    /// The rendered prompt does not fit the labeler's context.
    PromptTooLong,
    /// Verdict tokens got no usable log-probability (NaN, or both minus infinity).
    NoVerdict,
    /// The item itself cannot be judged, for example an empty response.
    BadItem,
    /// The engine failed on this item, and would again.
    EngineFailed,
    /// The engine gave no answer this time: an endpoint that is away, overloaded or slow. It may another time.
    EngineUnavailable,
    /// The endpoint refuses whatever it is asked: its description, the key or the account must be mended.
    EngineRefused,
}

impl fmt::Display for UnscorableReason {
    /// The word that files have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A failure, with the detail a person needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unscorable {
    /// The kind of failure, for counting.
    pub reason: UnscorableReason,
    /// What happened, for a person.
    pub detail: String,
}

impl Unscorable {
    /// A failure of the given kind.
    pub fn new(reason: UnscorableReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Unscorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.detail)
    }
}

/// A judgement end to end: scored, or unscorable and therefore masked from loss, advantage and
/// baseline. There is deliberately no default value and no conversion to a number: a failed
/// judge never becomes a reward of 0 or a label of 0.5.
pub type Judgement<T> = Result<T, Unscorable>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_called_alike_in_files_and_for_people() {
        use UnscorableReason::{BadItem, EngineFailed, NoVerdict, PromptTooLong};
        for reason in [PromptTooLong, NoVerdict, BadItem, EngineFailed] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.to_string());
        }
    }
}
