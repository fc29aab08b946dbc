//! An OpenTelemetry collector that keeps what it receives.

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
pub use opentelemetry_proto::tonic::trace::v1::Span;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// A collector on loopback, for as long as its runtime lives. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Collector {
    endpoint: String,
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    spans: Vec<Exported>,
    /// Names of services and of their metrics.
    metrics: BTreeSet<(String, String)>,
}

/// A span and the service that it is of.
#[derive(Debug, Clone)]
pub struct Exported {
    /// `rlaif-labeler`.
    pub service: String,
    /// The span.
    pub span: Span,
}

impl Exported {
    /// An attribute, as text.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text_of(&self.span.attributes, key)
    }
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let collector = Self { endpoint: format!("http://{address}"), ..Self::default() };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(collector.clone()))
            .add_service(MetricsServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        collector
    }

    /// Its address, as `telemetry.otlp.endpoint` has it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All spans that have come.
    pub fn spans(&self) -> Vec<Exported> {
        self.received().spans.clone()
    }

    /// Services and the names of metrics that have come from them.
    pub fn metrics(&self) -> BTreeSet<(String, String)> {
        self.received().metrics.clone()
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_one in request.into_inner().resource_spans {
            let service = service_of(of_one.resource.as_ref());
            let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let spans = spans.map(|span| Exported { service: service.clone(), span });
            self.received().spans.extend(spans);
        }
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        for of_one in request.into_inner().resource_metrics {
            let service = service_of(of_one.resource.as_ref());
            let metrics = of_one.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            let named = metrics.map(|metric| (service.clone(), metric.name));
            self.received().metrics.extend(named);
        }
        Ok(Response::new(Default::default()))
    }
}

fn service_of(resource: Option<&Resource>) -> String {
    resource.and_then(|resource| text_of(&resource.attributes, "service.name")).unwrap_or_default()
}

fn text_of(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}
