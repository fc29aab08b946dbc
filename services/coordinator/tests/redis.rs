//! The whole service over a real Redis that is not there at first, and goes away in the middle.

mod support;

use rlaif_coordinator::{Queues, service};
use rlaif_proto::coordinator::v1::{JobState, ListJobsRequest, PauseJobRequest};
use rlaif_queue::{Address, Options};
use rlaif_service::config::Secret;
use rlaif_service::server::{READINESS, STARTUP};
use rlaif_testkit::{RedisServer, eventually, free_port};
use std::net::SocketAddr;
use std::time::Duration;
use support::*;
use tokio_util::sync::CancellationToken;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_makes_the_service_wait_and_nothing_else() {
    let mut redis = RedisServer::start();
    redis.kill();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.server.address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    config.queue.url = Secret::new(redis.url());
    // The shortest there is; the outage below lasts until it is over.
    config.queue.options = Options { patience: Duration::from_millis(2100), ..options() };
    let (address, options) = (config.server.address, config.queue.options.clone());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(service::run(config, shutdown.clone()));

    let mut client = client_of(address, None);
    let answer = async || {
        let answer = client.clone().list_jobs(ListJobsRequest::default()).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    // Both that nobody listens and that it waits are UNAVAILABLE; only the latter says so.
    eventually("it says that it waits", async || {
        let answer = client.clone().list_jobs(ListJobsRequest::default()).await;
        answer.err().filter(|status| status.message().contains("waits for its queue"))
    })
    .await;
    // An orchestrator that asks whether it has started would else end it, which brings no Redis back.
    eventually("it has started", async || serves(address, STARTUP).await.then_some(())).await;
    assert!(!serves(address, READINESS).await);
    redis.restart();
    eventually("it is ready", async || (answer().await == Code::Ok).then_some(())).await;

    let queues = Queues::connect(&Address::new(redis.url()), &options).await.unwrap();
    let workers = Workers::start(&queues, &store(folder.path()));
    let sent = submission("outlives", false);
    let id = submit(&mut client, &sent, "key").await;
    workers.allow(5);
    eventually("a part is done", async || (workers.left() == 0).then_some(())).await;

    redis.kill();
    // What takes the queue is refused; the rest of it is answered, so it stays ready for those who ask.
    let pause = PauseJobRequest { job_id: id.clone() };
    assert_eq!(client.pause_job(pause).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(job(&mut client, &id).await.state(), JobState::Running);
    assert!(serves(address, READINESS).await);
    redis.restart();
    workers.allow_all();
    until(&mut client, &id, JobState::Succeeded).await;

    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_no_redis_that_is_away() {
    let mut redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.server.address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    config.queue.url = Secret::new(redis.url());
    // Patient for longer than tasks may take to end.
    config.queue.options = Options { patience: 2 * config.shutdown.grace, ..options() };
    let address = config.server.address;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(service::run(config, shutdown.clone()));
    let mut client = client_of(address, None);
    eventually("it is ready", async || {
        client.clone().list_jobs(ListJobsRequest::default()).await.ok()
    })
    .await;

    redis.kill();
    submit(&mut client, &submission("waits", true), "key").await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// As an orchestrator asks.
async fn serves(address: SocketAddr, service: &str) -> bool {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let endpoint = format!("http://{address}");
    let channel = tonic::transport::Endpoint::from_shared(endpoint).unwrap();
    let mut health = HealthClient::new(channel.connect_lazy());
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = health.check(request).await.unwrap().into_inner();
    answer.status() == ServingStatus::Serving
}
