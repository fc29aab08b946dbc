//! What a worker measures of the items it takes from a queue.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, UpDownCounter};
use rlaif_job::{Tokens, WorkResult};
use rlaif_queue::Queue;
use rlaif_service::metrics::{self, definitions, names};
use std::time::Duration;

/// What came of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has its result.
    Done,
    /// Its result is that it cannot be done.
    Impossible,
    /// This attempt failed.
    Failed,
    /// It was given back: for the shutdown, or since something that it needs is away.
    Released,
    /// Another worker has it.
    Lost,
}

impl Outcome {
    pub(crate) fn of(result: &WorkResult) -> Self {
        match result {
            WorkResult::Impossible(_) => Self::Impossible,
            _ => Self::Done,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Impossible => "impossible",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
}

/// Instruments of a worker's items; silent where telemetry was not started.
pub(crate) struct WorkMetrics {
    /// The queue, in the conventions' words.
    queue: [KeyValue; 3],
    seconds: Histogram<f64>,
    tokens: Counter<u64>,
    active: UpDownCounter<i64>,
}

/// An item that is counted as worked on until this is dropped.
pub(crate) struct Active<'a> {
    counter: &'a UpDownCounter<i64>,
    item: [KeyValue; 2],
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.counter.add(-1, &self.item);
    }
}

impl WorkMetrics {
    pub(crate) fn of(queue: &Queue, destination: &'static str) -> Self {
        Self {
            queue: [
                KeyValue::new(names::MESSAGING_SYSTEM, queue.system()),
                KeyValue::new(names::MESSAGING_OPERATION_NAME, "process"),
                KeyValue::new(names::MESSAGING_DESTINATION_NAME, destination),
            ],
            seconds: metrics::seconds(&definitions::MESSAGING_PROCESS_DURATION),
            tokens: metrics::counter(&definitions::WORK_TOKENS),
            active: metrics::up_down(&definitions::WORK_ACTIVE),
        }
    }

    /// Counts an item as worked on.
    pub(crate) fn begun(&self, kind: &'static str) -> Active<'_> {
        let [.., destination] = self.queue.clone();
        let item = [destination, KeyValue::new(names::WORK_KIND, kind)];
        self.active.add(1, &item);
        Active { counter: &self.active, item }
    }

    pub(crate) fn item(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        let [system, operation, destination] = self.queue.clone();
        let outcome = KeyValue::new(names::WORK_OUTCOME, outcome.name());
        let kind = KeyValue::new(names::WORK_KIND, kind);
        self.seconds.record(took.as_secs_f64(), &[system, operation, destination, kind, outcome]);
    }

    /// Counts tokens that models read and wrote.
    pub(crate) fn tokens(&self, kind: &'static str, tokens: Tokens) {
        for (which, count) in [("input", tokens.read), ("output", tokens.written)] {
            if count > 0 {
                let which = KeyValue::new(names::GEN_AI_TOKEN_TYPE, which);
                self.tokens.add(count, &[KeyValue::new(names::WORK_KIND, kind), which]);
            }
        }
    }
}
