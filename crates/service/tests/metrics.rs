//! The metrics endpoint as Prometheus and a kubelet see it.

mod support;

use rlaif_service::batcher::{self, Options};
use rlaif_service::metrics::{BatcherMetrics, Config, Endpoint, definitions as defined};
use rlaif_service::telemetry::{self, Format, Identity};
use std::net::SocketAddr;
use std::time::Duration;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn calls_and_batches_are_measured_and_probes_answered() {
    let config = telemetry::Config { filter: "off".to_owned(), format: Format::Human, otlp: None };
    let identity = Identity { service: "rlaif-test", version: "1", instance: "test".to_owned() };
    let telemetry = telemetry::init(&config, &identity).unwrap();
    let running = start(support::config()).await;
    let config = Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allow_remote: false,
        max_connections: 4,
        max_request_bytes: 1000,
    };
    let endpoint = Endpoint::bind(&config, telemetry.registry(), running.health.clone()).await;
    let endpoint = endpoint.unwrap();
    let address = endpoint.address();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(endpoint.serve(shutdown.clone()));

    say(&running.channel(), "hello").await.unwrap();
    let options = Options {
        max_batch_tokens: 8,
        max_batch_items: 8,
        max_queued_items: 8,
        max_queued_tokens: 8,
    };
    let metrics = BatcherMetrics::new("judge");
    let (batcher, thread) = batcher::start("engine", options, metrics, |b: Vec<u32>, _| b).unwrap();
    batcher.submit(1, 5, None).await.unwrap();
    thread.drain(Duration::from_secs(60)).await;

    // A call is recorded when its last byte has left, which may be after it has arrived.
    let text = loop {
        let text = get(address, "/metrics").await;
        if text.contains("rpc_server_call_duration_seconds_count{") {
            break text;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    // Refusals and skipped requests are counted from the first on.
    let eventful = [defined::SERVER_SHED, defined::BATCHER_SKIPPED, defined::BATCHER_SHED];
    let seen_here = ["Every service", "Workers: batches of direct callers"];
    let groups = defined::GROUPS.iter().filter(|group| seen_here.contains(&group.title));
    for metric in groups.flat_map(|group| group.metrics).filter(|m| !eventful.contains(m)) {
        for series in metric.series() {
            assert!(
                text.contains(&format!("\n{series}{{")) || text.contains(&format!("\n{series} ")),
                "{series}"
            );
        }
    }
    for line in [
        r#"rpc_method="test.v1.EchoService/Echo",rpc_response_status_code="OK""#,
        r#"rlaif_batcher_batch_tokens_sum{rlaif_engine="judge"} 5"#,
        r#"rlaif_batcher_wait_seconds_count{rlaif_engine="judge"} 1"#,
        r#"service_name="rlaif-test""#,
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }

    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    running.health.set_ready(false).await;
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));

    shutdown.cancel();
    served.await.unwrap().unwrap();
}
