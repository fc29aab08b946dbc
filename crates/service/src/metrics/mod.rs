//! What a service measures of itself, and the endpoint where Prometheus reads it.
//!
//! Instruments are OpenTelemetry's, so the same ones are pushed over OTLP and scraped here. The text
//! comes from OpenTelemetry's own Prometheus exporter, which is maintained and released with the SDK
//! again since 0.32; `prometheus-client` would be a second set of instruments beside it.

mod definition;
pub mod definitions;
mod endpoint;
pub mod names;

/// Where metrics are shown.
pub use crate::http::Config;
pub use definition::{Definition, Kind};
pub use endpoint::{Endpoint, Error};
/// Where instruments are gathered for the [`Endpoint`].
pub use prometheus::Registry;

use crate::batcher::{BatchReport, Observer, Skipped};
use opentelemetry::metrics::{AsyncInstrument, Counter, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, global};
use std::time::Duration;

/// Bounds of histograms of seconds: from a cached answer to the training of a reward model.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 900.0, 3600.0,
];
/// Bounds of histograms of counts.
const COUNTS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16384.0, 32768.0, 65536.0,
];

/// The meter of our instruments; silent until [`telemetry::init`](crate::telemetry::init).
fn meter() -> Meter {
    global::meter("rlaif")
}

/// The instrument of a histogram of seconds.
pub fn seconds(definition: &Definition) -> Histogram<f64> {
    meter()
        .f64_histogram(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_boundaries(SECONDS.to_vec())
        .build()
}

/// The instrument of a histogram of counts.
pub fn counts(definition: &Definition) -> Histogram<u64> {
    meter()
        .u64_histogram(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_boundaries(COUNTS.to_vec())
        .build()
}

/// The instrument of a counter.
pub fn counter(definition: &Definition) -> Counter<u64> {
    meter()
        .u64_counter(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .build()
}

/// The instrument of a gauge of what begins and ends.
pub fn up_down(definition: &Definition) -> UpDownCounter<i64> {
    meter()
        .i64_up_down_counter(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .build()
}

/// A gauge that is looked at whenever metrics are read: it has just the values that `look` observes
/// then, so what is gone is not shown any more. `look` lives as long as the process.
pub fn observed(
    definition: &Definition,
    look: impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static,
) {
    meter()
        .f64_observable_gauge(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_callback(look)
        .build();
}

/// A counter that is kept elsewhere and looked at whenever metrics are read.
pub fn observed_counter(
    definition: &Definition,
    look: impl Fn(&dyn AsyncInstrument<u64>) + Send + Sync + 'static,
) {
    meter()
        .u64_observable_counter(definition.name)
        .with_unit(definition.unit)
        .with_description(definition.help)
        .with_callback(look)
        .build();
}

/// Of the calls that a server answers.
#[derive(Debug, Clone)]
pub(crate) struct ServerMetrics {
    duration: Histogram<f64>,
    shed: Counter<u64>,
    active: UpDownCounter<i64>,
}

impl ServerMetrics {
    pub(crate) fn new() -> Self {
        Self {
            duration: seconds(&definitions::RPC_SERVER_CALL_DURATION),
            shed: counter(&definitions::SERVER_SHED),
            active: up_down(&definitions::SERVER_ACTIVE),
        }
    }

    pub(crate) fn begun(&self) {
        self.active.add(1, &[]);
    }

    pub(crate) fn ended(&self, method: &'static str, code: tonic::Code, took: Duration) {
        self.active.add(-1, &[]);
        let attributes = [
            KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(names::RPC_METHOD, method),
            KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, code_name(code)),
        ];
        self.duration.record(took.as_secs_f64(), &attributes);
    }

    pub(crate) fn shed(&self, method: &'static str) {
        self.shed.add(1, &[KeyValue::new(names::RPC_METHOD, method)]);
    }
}

/// A code as the conventions spell it: `DEADLINE_EXCEEDED`.
pub(crate) fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code as C;
    match code {
        C::Ok => "OK",
        C::Cancelled => "CANCELLED",
        C::Unknown => "UNKNOWN",
        C::InvalidArgument => "INVALID_ARGUMENT",
        C::DeadlineExceeded => "DEADLINE_EXCEEDED",
        C::NotFound => "NOT_FOUND",
        C::AlreadyExists => "ALREADY_EXISTS",
        C::PermissionDenied => "PERMISSION_DENIED",
        C::ResourceExhausted => "RESOURCE_EXHAUSTED",
        C::FailedPrecondition => "FAILED_PRECONDITION",
        C::Aborted => "ABORTED",
        C::OutOfRange => "OUT_OF_RANGE",
        C::Unimplemented => "UNIMPLEMENTED",
        C::Internal => "INTERNAL",
        C::Unavailable => "UNAVAILABLE",
        C::DataLoss => "DATA_LOSS",
        C::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Records what happens in a [batcher](crate::batcher).
#[derive(Debug, Clone)]
pub struct BatcherMetrics {
    engine: KeyValue,
    wait: Histogram<f64>,
    run: Histogram<f64>,
    items: Histogram<u64>,
    tokens: Histogram<u64>,
    skipped: Counter<u64>,
    shed: Counter<u64>,
}

impl BatcherMetrics {
    /// For the batcher named `engine`.
    pub fn new(engine: &'static str) -> Self {
        Self {
            engine: KeyValue::new(names::ENGINE, engine),
            wait: seconds(&definitions::BATCHER_WAIT),
            run: seconds(&definitions::BATCHER_RUN),
            items: counts(&definitions::BATCHER_ITEMS),
            tokens: counts(&definitions::BATCHER_TOKENS),
            skipped: counter(&definitions::BATCHER_SKIPPED),
            shed: counter(&definitions::BATCHER_SHED),
        }
    }
}

impl Observer for BatcherMetrics {
    fn batch(&self, report: &BatchReport<'_>) {
        let engine = std::slice::from_ref(&self.engine);
        for wait in report.waits {
            self.wait.record(wait.as_secs_f64(), engine);
        }
        self.items.record(report.waits.len() as u64, engine);
        self.tokens.record(report.tokens as u64, engine);
        let outcome = if report.failed { "engine_failed" } else { "" };
        let attributes = [self.engine.clone(), KeyValue::new(names::ERROR_TYPE, outcome)];
        self.run.record(report.took.as_secs_f64(), &attributes[..1 + usize::from(report.failed)]);
    }

    fn skipped(&self, why: Skipped) {
        let reason = match why {
            Skipped::CallerLeft => "caller_left",
            Skipped::DeadlinePassed => "deadline_passed",
            Skipped::TooLate => "too_late",
        };
        self.skipped.add(1, &[self.engine.clone(), KeyValue::new(names::REASON, reason)]);
    }

    fn shed(&self) {
        self.shed.add(1, std::slice::from_ref(&self.engine));
    }
}
