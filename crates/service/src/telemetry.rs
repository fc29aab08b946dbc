//! Logs to standard error, traces and metrics to an OpenTelemetry collector, and the trace context
//! that travels with every call and every queued message (W3C Trace Context).
//!
//! A collector that is dead or hangs costs nothing: spans wait in a bounded queue on a thread of
//! their own and are dropped when it is full, exports have a timeout, and so has the last flush.

use crate::client::{self, CallPolicy};
use crate::config::{Problems, Validate};
use crate::metrics::{self, definitions, names};
use crate::tls::ClientTls;
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

const TRACEPARENT: &str = "traceparent";

/// Logs, traces and metrics of a service.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is logged, as `info` or `warn,rlaif_service=debug`; `RUST_LOG` overrides it.
    pub filter: String,
    /// How it is logged.
    pub format: Format,
    /// The collector of traces and metrics; none is asked when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// An OpenTelemetry collector, spoken to in OTLP over gRPC.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Its address: `http://collector:4317`.
    pub endpoint: String,
    /// TLS, for an `https` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// How long one export may take.
    #[serde(with = "humantime_serde", default = "Otlp::default_timeout")]
    pub timeout: Duration,
    /// Share of the traces begun here that is recorded, 0 to 1; others follow their caller.
    #[serde(default = "Otlp::default_sample_ratio")]
    pub sample_ratio: f64,
    /// Spans that may wait for the collector; more are dropped.
    #[serde(default = "Otlp::default_max_queued_spans")]
    pub max_queued_spans: usize,
    /// How often metrics are sent.
    #[serde(with = "humantime_serde", default = "Otlp::default_metrics_interval")]
    pub metrics_interval: Duration,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        if let Err(e) = EnvFilter::try_new(&self.filter) {
            problems.add(
                "filter",
                format!("is not a filter: {e}; write one like info or warn,rlaif_service=debug"),
            );
        }
        if let Some(otlp) = &self.otlp {
            problems.section("otlp", otlp);
        }
    }
}

impl Validate for Otlp {
    fn validate(&self, problems: &mut Problems) {
        client::validate_address(&self.endpoint, self.tls.as_ref(), false, problems);
        problems.check((0.0..=1.0).contains(&self.sample_ratio), "sample_ratio", "must be 0 to 1");
        problems.check(self.max_queued_spans > 0, "max_queued_spans", "must be at least 1");
        problems.check(!self.timeout.is_zero(), "timeout", "must be longer than zero");
        problems.check(!self.metrics_interval.is_zero(), "metrics_interval", "must not be zero");
    }
}

impl Otlp {
    /// A collector at `endpoint`, with everything else as it is by default.
    pub fn at(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            tls: None,
            timeout: Self::default_timeout(),
            sample_ratio: Self::default_sample_ratio(),
            max_queued_spans: Self::default_max_queued_spans(),
            metrics_interval: Self::default_metrics_interval(),
        }
    }

    fn default_timeout() -> Duration {
        Duration::from_secs(5)
    }

    fn default_sample_ratio() -> f64 {
        1.0
    }

    fn default_max_queued_spans() -> usize {
        4096
    }

    fn default_metrics_interval() -> Duration {
        Duration::from_secs(30)
    }

    fn client(&self) -> client::Config {
        client::Config {
            endpoint: self.endpoint.clone(),
            tls: self.tls.clone(),
            token: None,
            connect_timeout: self.timeout,
            keep_alive_interval: Duration::from_secs(60),
            calls: CallPolicy::default(),
        }
    }
}

/// Who reports: OpenTelemetry's resource.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `rlaif-labeler`.
    pub service: &'static str,
    /// The service's version.
    pub version: &'static str,
    /// Which of several: a pod's or a host's name.
    pub instance: String,
}

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter of the logs is malformed.
    #[error("telemetry.filter or RUST_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The collector's address or certificates are unusable.
    #[error("telemetry.otlp: {0}")]
    Collector(#[from] client::Error),
    /// An exporter was refused.
    #[error("telemetry.otlp: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The Prometheus registry was refused.
    #[error("metrics: {0}")]
    Metrics(#[from] opentelemetry_sdk::error::OTelSdkError),
    /// The process has a subscriber already.
    #[error("telemetry was started twice: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Running telemetry; ends with [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct Telemetry {
    tracer: Option<SdkTracerProvider>,
    meter: SdkMeterProvider,
    registry: prometheus::Registry,
}

/// Starts logging and, where a collector is configured, exporting. Metrics are collected in any case,
/// for the [metrics endpoint](crate::metrics::Endpoint).
///
/// Call it once, inside the Tokio runtime that serves the exporter's connection.
///
/// # Errors
/// See [`Error`]; that the collector is out of reach is none.
pub fn init(config: &Config, identity: &Identity) -> Result<Telemetry, Error> {
    let telemetry = Telemetry::new(config, identity)?;
    global::set_meter_provider(telemetry.meter.clone());
    let started = Instant::now();
    metrics::observed(&definitions::PROCESS_UPTIME, move |uptime| {
        uptime.observe(started.elapsed().as_secs_f64(), &[]);
    });
    let traces = telemetry.tracer.as_ref().map(|provider| export(provider, identity.service));
    Registry::default().with(traces).with(log(config)?).try_init()?;
    Ok(telemetry)
}

impl Telemetry {
    fn new(config: &Config, identity: &Identity) -> Result<Self, Error> {
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new(names::SERVICE_NAME, identity.service),
                KeyValue::new(names::SERVICE_VERSION, identity.version),
                KeyValue::new(names::SERVICE_INSTANCE_ID, identity.instance.clone()),
            ])
            .build();
        let registry = prometheus::Registry::new();
        let scraped = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()?;
        let mut meter =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(scraped);
        let mut tracer = None;
        if let Some(otlp) = &config.otlp {
            let channel = client::plain_channel(&otlp.client())?;
            let spans = SpanExporter::builder()
                .with_tonic()
                .with_channel(channel.clone())
                .with_timeout(otlp.timeout)
                .build()?;
            let metrics = MetricExporter::builder()
                .with_tonic()
                .with_channel(channel)
                .with_timeout(otlp.timeout)
                .build()?;
            let pushed =
                PeriodicReader::builder(metrics).with_interval(otlp.metrics_interval).build();
            meter = meter.with_reader(pushed);
            tracer = Some(tracer_provider(otlp, spans, resource));
        }
        Ok(Self { tracer, meter: meter.build(), registry })
    }

    /// What the metrics endpoint shows.
    pub fn registry(&self) -> prometheus::Registry {
        self.registry.clone()
    }

    /// Sends what still waits, for at most `within`; what does not arrive by then is lost, and a
    /// warning says so.
    pub async fn shutdown(self, within: Duration) {
        let (done, flushed) = tokio::sync::oneshot::channel();
        // A thread of its own, not the runtime's blocking pool: a runtime waits for that pool when
        // it ends, and a hanging collector would hold the process.
        std::thread::spawn(move || {
            let traces = self.tracer.map_or(Ok(()), |t| t.shutdown_with_timeout(within));
            let metrics = self.meter.shutdown_with_timeout(within);
            let _ = done.send(traces.and(metrics));
        });
        match tokio::time::timeout(within, flushed).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!("the last spans or metrics are lost: {error}"),
            _ => tracing::warn!("the last spans or metrics are lost: the collector is too slow"),
        }
    }
}

fn tracer_provider(otlp: &Otlp, spans: SpanExporter, resource: Resource) -> SdkTracerProvider {
    let queue = BatchConfigBuilder::default()
        .with_max_queue_size(otlp.max_queued_spans)
        .with_max_export_batch_size(otlp.max_queued_spans.min(512))
        .build();
    SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(spans).with_batch_config(queue).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample_ratio))))
        .with_resource(resource)
        .build()
}

/// Spans of our crates from `info` up, whatever is logged. Those of the transport are left out: the
/// exporter's own calls would make spans without end.
fn export<S>(provider: &SdkTracerProvider, service: &'static str) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(service))
        .with_filter(Targets::new().with_target("rlaif", LevelFilter::INFO))
}

fn log<S>(config: &Config) -> Result<Box<dyn Layer<S> + Send + Sync>, Error>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)?,
        _ => EnvFilter::try_new(&config.filter)?,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Colours are for terminals that want them (NO_COLOR), and noise in a file.
    let lines = match std::io::stderr().is_terminal() {
        true => lines,
        false => lines.with_ansi(false),
    };
    Ok(match config.format {
        Format::Human => lines.with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

/// The headers that carry `span`'s context on: `traceparent`, and `tracestate` if there is one. For
/// gRPC metadata and for the headers of a queued message alike; none when nothing is traced.
pub fn headers(span: &Span) -> Vec<(String, String)> {
    struct Headers(Vec<(String, String)>);
    impl Injector for Headers {
        fn set(&mut self, key: &str, value: String) {
            if !value.is_empty() {
                self.0.push((key.to_owned(), value));
            }
        }
    }
    let mut headers = Headers(Vec::new());
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    headers.0
}

/// Makes `span` a child of the span whose context is in the headers, if there is one. `header` looks
/// one up by its lower-case name.
///
/// Call it before the span is entered.
pub fn continue_from<'a>(span: &Span, header: impl Fn(&str) -> Option<&'a str>) {
    let context = context_in(header);
    if context.span().span_context().is_valid() {
        // An error means that the span is not recorded, and so needs no parent.
        let _ = span.set_parent(context);
    }
}

/// `span`'s context as a `traceparent` alone, for places that hold one text; none when nothing is
/// traced.
pub fn traceparent(span: &Span) -> Option<String> {
    headers(span).into_iter().find_map(|(name, value)| (name == TRACEPARENT).then_some(value))
}

/// The trace that `span` belongs to, as 32 hexadecimal digits; none when nothing is traced.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let spanned = context.span();
    let of_span = spanned.span_context();
    of_span.is_valid().then(|| of_span.trace_id().to_string())
}

/// Links `span`, a message's redelivery, to the span of the delivery before it, whose context
/// `traceparent` is. That span is never seen if its process was killed; the link then still says
/// that there was one, and in which process's logs to look for it.
pub fn link_to_delivery_before(span: &Span, traceparent: &str) {
    let context = context_in(|name| (name == TRACEPARENT).then_some(traceparent));
    link(span, context.span().span_context());
}

/// Links `span` to another, as a batch to the requests in it.
pub fn link(span: &Span, to: &SpanContext) {
    if to.is_valid() {
        span.add_link(to.clone());
    }
}

/// The context of the span that runs now, to be linked to later.
pub fn current_span_context() -> SpanContext {
    Span::current().context().span().span_context().clone()
}

fn context_in<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Context {
    let propagator = TraceContextPropagator::new();
    let carried: HashMap<String, String> = propagator
        .fields()
        .filter_map(|name| Some((name.to_owned(), header(name)?.to_owned())))
        .collect();
    // From an empty context: a message's trace is not the one of whoever reads the queue.
    propagator.extract_with_context(&Context::new(), &carried)
}
