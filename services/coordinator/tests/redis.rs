//! The coordinator over a real Redis: one that is not there at first, goes away in the middle, or has no room.

mod support;

use rlaif_coordinator::{Queues, service};
use rlaif_job::WorkerKind;
use rlaif_proto::coordinator::v1::{
    CancelJobRequest, JobState, ListJobsRequest, PauseJobRequest, ResumeJobRequest,
};
use rlaif_proto::{Error, ErrorCode};
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

/// More patient with it than tasks may take to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_no_redis_that_is_away() {
    let mut redis = RedisServer::start();
    let options = Options { patience: Duration::from_secs(120), ..options() };
    let cluster = Cluster::over(&redis, options).await;
    let running = cluster.coordinator().await;
    redis.kill();
    submit(&mut client_of(running.address, None), &submission("waits", true), "key").await;
    running.shutdown.cancel();
    running.ended.await.unwrap();
}

async fn resume(client: &mut Client, id: &str, max_tokens: u64) {
    let max_tokens = Some(max_tokens);
    let request = ResumeJobRequest { job_id: id.to_owned(), max_tokens, ..Default::default() };
    client.resume_job(request).await.unwrap();
}

/// Else workers would go on with it, and be paid for that.
#[tokio::test(flavor = "multi_thread")]
async fn items_of_a_job_that_fails_while_redis_is_away_are_taken_back_by_the_next_coordinator() {
    let mut redis = RedisServer::start();
    let options = Options { patience: Duration::from_millis(2100), ..options() };
    let cluster = Cluster::over(&redis, options).await;
    let running = cluster.coordinator().await;
    let mut client = running.client();
    let id = submit(&mut client, &submission("spent", false), "key").await;
    // Two checks, fine-tuning and a chunk of pairs.
    cluster.workers.allow(4);
    let labels = cluster.queues.of(WorkerKind::Labeler);
    eventually("a label is asked for", async || {
        let paid = job(&mut client.clone(), &id).await.cost.unwrap().prompt_tokens;
        (paid > 0 && labels.outstanding().await.unwrap() == 1).then_some(())
    })
    .await;

    redis.kill();
    // The check of its labeler took more.
    resume(&mut client, &id, 1).await;
    // It has the coordinator look at what it hands out.
    let other = submit(&mut client, &submission("other", true), "another key").await;
    until(&mut client, &id, JobState::Failed).await;
    cluster.stop(running).await;

    let running = cluster.coordinator().await;
    let mut client = running.client();
    redis.restart();
    eventually("the other job is cancelled", async || {
        client.clone().cancel_job(CancelJobRequest { job_id: other.clone() }).await.ok()
    })
    .await;
    eventually("no worker would find anything", async || {
        for (_, queue) in cluster.queues.each() {
            queue.outstanding().await.ok().filter(|left| *left == 0)?;
        }
        Some(())
    })
    .await;
    cluster.workers.allow_all();
    resume(&mut client, &id, 1_000_000).await;
    until(&mut client, &id, JobState::Succeeded).await;
    cluster.stop(running).await;
}

/// Before Redis itself refuses what would settle the work that is there.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_refused_while_redis_has_no_room_and_told_when_to_come_again() {
    let redis = RedisServer::start();
    let cluster = Cluster::over(&redis, options()).await;
    let running = cluster.coordinator().await;
    let client = client_of(running.address, None);

    // Less than an empty Redis takes.
    redis.configure("maxmemory", "100kb");
    let mut tried = 0;
    let refused = eventually("a job is refused", async || {
        tried += 1;
        let request = request(&submission("crowd", true), &format!("key {tried}"));
        client.clone().submit_job(request).await.err()
    })
    .await;
    let error = Error::from(refused);
    assert_eq!(error.code, ErrorCode::Busy);
    assert!(error.retry_after.is_some() && error.message.contains("full"), "{error}");

    redis.configure("maxmemory", "0");
    eventually("a job is taken again", async || {
        let request = request(&submission("crowd", true), "later");
        client.clone().submit_job(request).await.ok()
    })
    .await;
    cluster.stop(running).await;
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
