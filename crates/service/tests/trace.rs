//! One trace over two processes' worth of code, as an OpenTelemetry collector receives it.

mod support;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rlaif_service::batcher::{self, Options};
use rlaif_service::telemetry::{self, Config, Format, Identity, Otlp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// Spans of rlaif's crates are exported, and this test is none.
const TARGET: &str = "rlaif_test";

#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let scopes = request.into_inner().resource_spans.into_iter().flat_map(|r| r.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|s| s.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::default();
        let service = TraceServiceServer::new(collector.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, endpoint)
    }

    fn span(&self, name: &str, kind: SpanKind) -> Span {
        let spans = self.spans.lock().unwrap();
        let found = spans.iter().find(|s| s.name == name && s.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind:?} span {name} in {spans:#?}")).clone()
    }
}

/// A consumer's span for a message with these headers.
fn deliver(name: &'static str, headers: &HashMap<String, String>, delivery: u32) {
    let span =
        tracing::info_span!(target: TARGET, "process", otel.name = name, otel.kind = "consumer");
    telemetry::continue_delivery(&span, |key| headers.get(key).map(String::as_str), delivery);
    span.in_scope(|| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_crosses_client_server_queue_and_batch() {
    let (collector, endpoint) = Collector::start().await;
    let otlp = Otlp {
        endpoint,
        tls: None,
        timeout: Duration::from_secs(10),
        sample_ratio: 1.0,
        max_queued_spans: 1000,
        metrics_interval: Duration::from_secs(3600),
    };
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
    let (batcher, thread) = batcher::start("engine", options, (), |batch: Vec<u32>| batch).unwrap();
    let root = tracing::info_span!(target: TARGET, "root");
    let headers: HashMap<_, _> = telemetry::headers(&root).into_iter().collect();
    async {
        say(&running.channel(), "hello").await.unwrap();
        batcher.submit(1, 1, None).await.unwrap();
    }
    .instrument(root)
    .await;
    deliver("first delivery", &headers, 1);
    deliver("second delivery", &headers, 2);
    thread.drain(Duration::from_secs(60)).await;
    running.shutdown.cancel();
    running.ended.await.unwrap().unwrap();
    telemetry.shutdown(Duration::from_secs(60)).await;

    let root = collector.span("root", SpanKind::Internal);
    let client = collector.span("test.v1.EchoService/Echo", SpanKind::Client);
    let server = collector.span("test.v1.EchoService/Echo", SpanKind::Server);
    assert_eq!((&client.trace_id, &client.parent_span_id), (&root.trace_id, &root.span_id));
    assert_eq!((&server.trace_id, &server.parent_span_id), (&root.trace_id, &client.span_id));

    let first = collector.span("first delivery", SpanKind::Consumer);
    assert_eq!((&first.trace_id, &first.parent_span_id), (&root.trace_id, &root.span_id));
    let second = collector.span("second delivery", SpanKind::Consumer);
    let batch = collector.span("engine batch", SpanKind::Internal);
    for linked in [second, batch] {
        assert_ne!(linked.trace_id, root.trace_id);
        assert_eq!(linked.links.len(), 1, "{linked:#?}");
        assert_eq!(linked.links[0].span_id, root.span_id);
    }
}
