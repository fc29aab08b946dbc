//! The whole service over a real Redis that has no room. By itself: a process has one service.

mod support;

use rlaif_coordinator::service;
use rlaif_proto::coordinator::v1::ListJobsRequest;
use rlaif_proto::{Error, ErrorCode};
use rlaif_service::config::Secret;
use rlaif_testkit::{RedisServer, eventually, free_port};
use std::net::SocketAddr;
use support::*;
use tokio_util::sync::CancellationToken;

/// Before Redis itself refuses what would settle the work that is there.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_refused_while_redis_has_no_room_and_told_when_to_come_again() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.server.address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    config.queue.url = Secret::new(redis.url());
    let address = config.server.address;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(service::run(config, shutdown.clone()));
    let client = client_of(address, None);
    eventually("it is ready", async || {
        client.clone().list_jobs(ListJobsRequest::default()).await.ok()
    })
    .await;

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
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
