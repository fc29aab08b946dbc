//! What a worker measures of the items it takes from a queue.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use rlaif_job::WorkResult;
use rlaif_service::metrics::{self, names};
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
    /// It was given back for the shutdown.
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

    fn name(self) -> &'static str {
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
    seconds: Histogram<f64>,
    tokens: Counter<u64>,
}

impl WorkMetrics {
    pub(crate) fn new() -> Self {
        let tokens = "Tokens that models read and wrote for items of the queue.";
        Self {
            seconds: metrics::seconds(
                names::MESSAGING_PROCESS_DURATION,
                "How long items of the queue took, by kind and outcome.",
            ),
            tokens: metrics::counter(names::WORK_TOKENS, "{token}", tokens),
        }
    }

    pub(crate) fn item(&self, kind: &'static str, outcome: Outcome, took: Duration) {
        let outcome = KeyValue::new(names::WORK_OUTCOME, outcome.name());
        self.seconds.record(took.as_secs_f64(), &[KeyValue::new(names::WORK_KIND, kind), outcome]);
    }

    /// Counts the tokens of results that know theirs.
    pub(crate) fn tokens(&self, kind: &'static str, result: &WorkResult) {
        let (input, output) = tokens(result);
        for (which, count) in [("input", input), ("output", output)] {
            if count > 0 {
                let which = KeyValue::new(names::GEN_AI_TOKEN_TYPE, which);
                self.tokens.add(count, &[KeyValue::new(names::WORK_KIND, kind), which]);
            }
        }
    }
}

/// Tokens read and written.
fn tokens(result: &WorkResult) -> (u64, u64) {
    match result {
        WorkResult::Labels(labels) => {
            let read = labels.iter().filter_map(|label| label.comparison.as_ref());
            let read = read.map(|c| c.ab.prompt_tokens + c.ba.prompt_tokens).sum::<usize>();
            (read as u64, 0)
        }
        WorkResult::Rollouts(rollouts) => {
            let read = rollouts.iter().map(|r| r.episode.prompt.len()).sum::<usize>();
            let written = rollouts.iter().map(|r| r.episode.response.len()).sum::<usize>();
            (read as u64, written as u64)
        }
        _ => (0, 0),
    }
}
