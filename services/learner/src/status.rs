//! What the learner does now: written by its work, read by who asks.

use rlaif_job::{Tokens, Work, WorkItem, WorkResult};
use rlaif_worker::{Advance, Progress};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What it does. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Status {
    now: Arc<Mutex<Now>>,
}

/// What it does at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Now {
    /// Empty while it waits for work.
    pub(crate) job: String,
    pub(crate) stage: String,
    pub(crate) step: u64,
    pub(crate) total_steps: u64,
    /// The newest that this learner published; 0 before.
    pub(crate) policy_version: u64,
    pub(crate) metrics: Option<Metrics>,
}

/// What the last step measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metrics {
    pub(crate) stage: String,
    pub(crate) step: u64,
    pub(crate) values: BTreeMap<String, f64>,
}

impl Status {
    pub(crate) fn now(&self) -> Now {
        self.lock().clone()
    }

    pub(crate) fn begin(&self, item: &WorkItem) {
        let mut now = self.lock();
        now.job.clone_from(&item.job);
        item.task.stage().clone_into(&mut now.stage);
        (now.step, now.total_steps) = (0, 0);
    }

    /// Work ended, with or without a result.
    pub(crate) fn end(&self, work: &Work, result: Option<&WorkResult>) {
        let mut now = self.lock();
        if let (Work::PolicyStep(work), Some(WorkResult::Stepped(_))) = (work, result) {
            now.policy_version = work.step as u64;
        }
        now.job.clear();
        now.stage.clear();
    }

    /// Assignments do not panic half-way, so a poisoned status is still a whole one.
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands progress on and notes it.
pub(crate) struct Noted<'a> {
    pub(crate) status: &'a Status,
    pub(crate) progress: &'a dyn Progress,
}

impl Progress for Noted<'_> {
    fn advance(&self, advance: &Advance<'_>) {
        let mut now = self.status.lock();
        (now.step, now.total_steps) = (advance.done as u64, advance.total as u64);
        drop(now);
        self.progress.advance(advance);
    }

    fn measured(&self, record: &Value) {
        let metrics = metrics(record);
        self.status.lock().metrics = metrics;
        self.progress.measured(record);
    }

    fn used(&self, tokens: Tokens) {
        self.progress.used(tokens);
    }

    fn is_stopped(&self) -> bool {
        self.progress.is_stopped()
    }
}

/// The numbers of a record of metrics.
fn metrics(record: &Value) -> Option<Metrics> {
    let fields = record.as_object()?;
    let named = fields.iter().filter(|(name, _)| *name != "step");
    Some(Metrics {
        stage: fields.get("stage").and_then(Value::as_str).unwrap_or_default().to_owned(),
        step: fields.get("step").and_then(Value::as_u64).unwrap_or_default(),
        values: named.filter_map(|(name, v)| Some((name.clone(), v.as_f64()?))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Nobody;

    impl Progress for Nobody {
        fn advance(&self, _: &Advance<'_>) {}
        fn measured(&self, _: &Value) {}
        fn used(&self, _: Tokens) {}
    }

    #[test]
    fn who_asks_sees_the_latest_step_and_its_numbers() {
        let status = Status::default();
        let noted = Noted { status: &status, progress: &Nobody };
        noted.advance(&Advance { stage: "policy", done: 3, total: 9, note: "" });
        noted.measured(&json!({"stage": "policy", "step": 3, "objective/kl": 0.5, "note": "text"}));
        let now = status.now();
        assert_eq!((now.step, now.total_steps), (3, 9));
        let metrics = now.metrics.unwrap();
        assert_eq!((metrics.stage.as_str(), metrics.step), ("policy", 3));
        assert_eq!(metrics.values, BTreeMap::from([("objective/kl".to_owned(), 0.5)]));
    }
}
