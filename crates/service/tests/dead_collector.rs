//! A collector that accepts connections and never answers must not be felt.

use rlaif_service::telemetry::{self, Config, Format, Identity, Otlp};
use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_collector_that_hangs_blocks_neither_spans_nor_the_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let otlp = Otlp {
        endpoint,
        tls: None,
        timeout: Duration::from_secs(3600),
        sample_ratio: 1.0,
        max_queued_spans: 16,
        metrics_interval: Duration::from_millis(10),
    };
    let config = Config { filter: "off".to_owned(), format: Format::Human, otlp: Some(otlp) };
    let identity = Identity { service: "rlaif-test", version: "1", instance: "test".to_owned() };
    let telemetry = telemetry::init(&config, &identity).unwrap();
    let connection = tokio::spawn(async move { listener.accept().await.unwrap() });

    // Far more than the queue holds. Were a span to wait for the collector, it would wait an hour.
    for n in 0..10_000 {
        tracing::info_span!(target: "rlaif_test", "work", n).in_scope(|| {});
    }
    // It did reach the collector, which holds the connection open to the end.
    let _connection = connection.await.unwrap();
    let ended = telemetry.shutdown(Duration::from_millis(100));
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the shutdown is bounded");
}
