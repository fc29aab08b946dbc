//! One trace over two processes' worth of code, as an OpenTelemetry collector receives it.

mod support;

use rlaif_service::batcher::{self, Options};
use rlaif_service::telemetry::{self, Config, Format, Identity, Otlp};
use rlaif_testkit::{Collector, Span, SpanKind};
use std::collections::HashMap;
use std::time::Duration;
use support::*;
use tracing::Instrument;

/// Spans of rlaif's crates are exported, and this test is none.
const TARGET: &str = "rlaif_test";

fn span(collector: &Collector, name: &str, kind: SpanKind) -> Span {
    let spans = collector.spans();
    let found = spans.iter().find(|s| s.span.name == name && s.span.kind() == kind);
    found.unwrap_or_else(|| panic!("no {kind:?} span {name} in {spans:#?}")).span.clone()
}

/// A consumer's span for a message with these headers, and its context for the delivery after it.
fn deliver(
    name: &'static str,
    headers: &HashMap<String, String>,
    before: Option<&str>,
) -> Option<String> {
    let span =
        tracing::info_span!(target: TARGET, "process", otel.name = name, otel.kind = "consumer");
    telemetry::continue_from(&span, |key| headers.get(key).map(String::as_str));
    if let Some(before) = before {
        telemetry::link_to_delivery_before(&span, before);
    }
    span.in_scope(|| {});
    telemetry::traceparent(&span)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_crosses_client_server_queue_and_batch() {
    let collector = Collector::start().await;
    let otlp = Otlp::at(collector.endpoint());
    // Traces do not depend on what is logged.
    let config = Config { filter: "error".to_owned(), format: Format::Json, otlp: Some(otlp) };
    let identity = Identity { service: "rlaif-test", version: "1", instance: "test".to_owned() };
    let telemetry = telemetry::init(&config, &identity).unwrap();

    let running = start(support::config()).await;
    let options = Options {
        max_batch_tokens: 8,
        max_batch_items: 8,
        max_queued_items: 8,
        max_queued_tokens: 8,
    };
    let (batcher, thread) =
        batcher::start("engine", options, (), |batch: Vec<u32>, _| batch).unwrap();
    let root = tracing::info_span!(target: TARGET, "root");
    let headers: HashMap<_, _> = telemetry::headers(&root).into_iter().collect();
    async {
        say(&running.channel(), "hello").await.unwrap();
        batcher.submit(1, 1, None).await.unwrap();
    }
    .instrument(root)
    .await;
    let first = deliver("first delivery", &headers, None).expect("it is traced");
    deliver("second delivery", &headers, Some(&first));
    deliver("third delivery", &headers, Some("not a context"));
    thread.drain(Duration::from_secs(60)).await;
    running.shutdown.cancel();
    running.ended.await.unwrap().unwrap();
    telemetry.shutdown(Duration::from_secs(60)).await;

    let span = |name, kind| span(&collector, name, kind);
    let root = span("root", SpanKind::Internal);
    let client = span("test.v1.EchoService/Echo", SpanKind::Client);
    let server = span("test.v1.EchoService/Echo", SpanKind::Server);
    assert_eq!((&client.trace_id, &client.parent_span_id), (&root.trace_id, &root.span_id));
    assert_eq!((&server.trace_id, &server.parent_span_id), (&root.trace_id, &client.span_id));

    let deliveries = ["first delivery", "second delivery", "third delivery"];
    let [first, second, third] = deliveries.map(|name| span(name, SpanKind::Consumer));
    for delivery in [&first, &second, &third] {
        assert_eq!((&delivery.trace_id, &delivery.parent_span_id), (&root.trace_id, &root.span_id));
    }
    let links = |span: &Span| span.links.iter().map(|l| l.span_id.clone()).collect::<Vec<_>>();
    assert_eq!((links(&first).len(), links(&third).len()), (0, 0));
    assert_eq!(links(&second), std::slice::from_ref(&first.span_id));

    let batch = span("engine batch", SpanKind::Internal);
    assert_ne!(batch.trace_id, root.trace_id);
    assert_eq!(links(&batch), [root.span_id]);
}
