//! What is known of a job beside its results: where it stands, and what it has cost.

use rlaif_job::{StageProgress, TaskId, Tokens};
use rlaif_types::{Ceiling, Money, Price, Spend};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a job beside its results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Where it stands.
    pub state: JobState,
    /// When it was accepted, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When its state last changed.
    pub updated_unix_ms: u64,
    /// How far each stage is, as of then in the journal.
    #[serde(default)]
    pub stages: Vec<StageProgress>,
    /// Tasks that were given up and wait for an operator.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dead: BTreeSet<TaskId>,
    /// What its labeler and its judge have read and written, as of then in the journal.
    #[serde(flatten)]
    pub used: Used,
    /// What its labeler charges; none where the job does not say.
    #[serde(default)]
    pub price: Option<Price>,
    /// What its judge charges; said where the labeler's price is, if the job names a judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_price: Option<Price>,
    /// What its labeler and its judge may be asked for, as of the job or of who resumed it last.
    #[serde(default)]
    pub ceiling: Ceiling,
    /// Headers with the trace context of its submission, which all its work is done in; none where
    /// that was not traced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trace: BTreeMap<String, String>,
    /// Number of the event told last of it; not in the journal.
    #[serde(skip)]
    pub sequence: u64,
}

/// What those who judge for a job have read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The labeler.
    #[serde(default, rename = "labeler_tokens")]
    pub labeler: Tokens,
    /// The judge, where it is not the labeler.
    #[serde(default, rename = "judge_tokens")]
    pub judge: Tokens,
}

impl Used {
    /// Both together.
    pub fn all(self) -> Tokens {
        let mut all = self.labeler;
        all += self.judge;
        all
    }

    /// This, and no less of anything than `least`.
    pub(crate) fn at_least(self, least: Self) -> Self {
        let more = |a: Tokens, b: Tokens| Tokens {
            read: a.read.max(b.read),
            written: a.written.max(b.written),
        };
        Self { labeler: more(self.labeler, least.labeler), judge: more(self.judge, least.judge) }
    }
}

impl JobRecord {
    /// What its labeler and its judge have cost, each at its own price; none where they have none.
    pub fn cost(&self) -> Option<Money> {
        let of = |price: Price, tokens: Tokens| price.cost(&tokens.usage());
        let judge = self.judge_price.map(|price| of(price, self.used.judge)).unwrap_or_default();
        self.price.map(|price| of(price, self.used.labeler) + judge)
    }

    /// Why its labeler and its judge are not asked any more, where they are not.
    pub fn spent_up(&self) -> Option<String> {
        let cost = self.cost();
        let tokens = self.used.all().usage().tokens();
        if !self.ceiling.is_reached(Spend { cost: cost.unwrap_or_default(), tokens }) {
            return None;
        }
        let Ceiling { max_cost, max_tokens } = self.ceiling;
        let spent = match (max_cost, max_tokens) {
            (Some(max), _) if cost.unwrap_or_default() >= max => {
                format!("{} of max_cost = {max}", cost.unwrap_or_default())
            }
            (_, max) => format!("{tokens} tokens of max_tokens = {}", max.unwrap_or_default()),
        };
        let who = match self.used.judge == Tokens::default() {
            true => "its labeler has",
            false => "its labeler and its judge have",
        };
        Some(format!("{who} taken {spent}: raise it and resume the job to go on"))
    }

    /// A job that is accepted now, and runs.
    pub fn accepted(id: &str, name: &str, unix_ms: u64) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            state: JobState::Running,
            created_unix_ms: unix_ms,
            updated_unix_ms: unix_ms,
            stages: Vec::new(),
            dead: BTreeSet::new(),
            used: Used::default(),
            price: None,
            judge_price: None,
            ceiling: Ceiling::default(),
            trace: BTreeMap::new(),
            sequence: 0,
        }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// Its tasks are being worked on.
    Running,
    /// Nothing is handed out until it is resumed.
    Paused,
    /// It was given up by its owner.
    Cancelled,
    /// It cannot go on; resuming tries again.
    Failed {
        /// Why, and how to mend it.
        error: String,
    },
    /// All is done.
    Succeeded,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_there_were_judges_reads_as_one_without() {
        let mut written = serde_json::to_value(job()).unwrap();
        let tokens = written.as_object_mut().unwrap().remove("judge_tokens");
        assert!(tokens.is_some() && written.get("labeler_tokens").is_some(), "{written}");
        assert_eq!(serde_json::from_value::<JobRecord>(written).unwrap(), job());
    }

    fn job() -> JobRecord {
        JobRecord::accepted("a", "tiny", 1)
    }
}
