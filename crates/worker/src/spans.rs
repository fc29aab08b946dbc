//! Spans of a worker: the processing of an item and, below it, model calls and training.

use rlaif_queue::{Delivery, Lease, Queue};
use rlaif_service::metrics::names;
use rlaif_service::telemetry;
use tracing::Span;
use tracing::field::Empty;

/// The processing of an item of the queue called `destination`.
///
/// It is a child of the span that queued the item, so that a job is one trace from its submission
/// on. The messaging conventions leave that to where one message is processed and nothing else could
/// be the parent, as here; a consumer of batches would have to link.
pub(crate) fn processing(queue: &Queue, destination: &str, delivery: &Delivery) -> Span {
    let name = format!("process {destination}");
    let span = tracing::info_span!(
        "process",
        otel.name = name,
        otel.kind = "consumer",
        otel.status_code = Empty,
        { names::MESSAGING_SYSTEM } = queue.system(),
        { names::MESSAGING_OPERATION_NAME } = "process",
        { names::MESSAGING_OPERATION_TYPE } = "process",
        { names::MESSAGING_DESTINATION_NAME } = destination,
        { names::MESSAGING_MESSAGE_ID } = delivery.id().as_str(),
        { names::DELIVERY } = Empty,
        { names::JOB_ID } = job_of(delivery.id().as_str()),
        { names::WORK_KIND } = Empty,
        { names::WORK_OUTCOME } = Empty,
    );
    telemetry::continue_from(&span, |name| delivery.headers().get(name).map(String::as_str));
    span
}

/// Notes on `span` which start of the item it is, and links it to the one before.
pub(crate) fn started(span: &Span, lease: &Lease) {
    span.record(names::DELIVERY, lease.attempt());
    if let Some(before) = lease.trace_before() {
        telemetry::link_to_delivery_before(span, before);
    }
}

/// The job that an item's id begins with.
pub(crate) fn job_of(item: &str) -> &str {
    item.split('/').next().unwrap_or_default()
}

/// Use of a model of this process.
pub(crate) fn model_call(operation: &'static str, model: &str) -> Span {
    let name = format!("{operation} {model}");
    tracing::info_span!(
        "model",
        otel.name = name,
        { names::GEN_AI_OPERATION_NAME } = operation,
        { names::GEN_AI_PROVIDER_NAME } = "rlaif",
        { names::GEN_AI_REQUEST_MODEL } = model,
        { names::GEN_AI_USAGE_INPUT_TOKENS } = Empty,
        { names::GEN_AI_USAGE_OUTPUT_TOKENS } = Empty,
    )
}

/// A stage's training in one piece.
pub(crate) fn training(stage: &str, steps: usize) -> Span {
    let name = format!("train {stage}");
    tracing::info_span!("train", otel.name = name, { names::STEPS } = steps)
}
