//! How a worker ends while its engine is in the middle of something that takes longer than it has to end.

use crate::queue::enqueue;
use crate::{config, start};
use rlaif_job::{WorkItem, WorkResult, WorkerKind};
use rlaif_learner::Direct;
use rlaif_proto::learner::v1::learner_service_client::LearnerServiceClient;
use rlaif_proto::learner::v1::learner_service_server::{LearnerService, LearnerServiceServer};
use rlaif_proto::learner::v1::{
    GetStatusRequest, GetStatusResponse, ListVersionsRequest, ListVersionsResponse,
};
use rlaif_queue::{Address, Options, Queue};
use rlaif_service::batcher::{self, Batcher};
use rlaif_service::server::Api;
use rlaif_testkit::{RedisServer, eventually};
use rlaif_worker::{Executor, Parts, Progress, Resources, Retry, Service};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// What has begun: an item, and a caller's batch.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// A worker that is never done: an item ends between its steps, a caller's batch does not end at all.
struct Endless;

impl Service for Endless {
    const NAME: &'static str = "endless";
    const KIND: WorkerKind = WorkerKind::Labeler;
    const DEFAULTS: &'static str = "[direct]\n";
    type Direct = Direct;

    fn build(_: Direct, _: &Resources) -> Result<Parts, String> {
        let options = batcher::Options {
            max_batch_tokens: 1,
            max_batch_items: 1,
            max_queued_items: 1,
            max_queued_tokens: 1,
        };
        let (batcher, thread) = batcher::start("endless", options, (), |batch: Vec<u32>, _| {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_secs(24 * 60 * 60));
            batch
        })
        .map_err(|e| e.to_string())?;
        let routes = Routes::new(LearnerServiceServer::new(Answering { batcher }));
        let (descriptor, rules) = (rlaif_proto::learner::DESCRIPTOR_SET, rlaif_learner::RULES);
        Ok(Parts {
            executor: Arc::new(Endless),
            api: Api { routes, descriptor, rules },
            engines: vec![thread],
            tasks: Vec::new(),
        })
    }
}

impl Executor for Endless {
    fn execute(&self, _: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry> {
        BEGUN.fetch_add(1, Ordering::SeqCst);
        while progress.goes_on().is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(Retry::Stopped)
    }
}

struct Answering {
    batcher: Batcher<u32, u32>,
}

#[tonic::async_trait]
impl LearnerService for Answering {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        self.batcher.submit(0, 1, None).await?;
        Ok(Response::new(GetStatusResponse::default()))
    }

    async fn list_versions(
        &self,
        _: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_in_time_while_its_engine_is_busy_and_gives_its_item_to_another() {
    let (folder, redis) = (tempfile::tempdir().unwrap(), RedisServer::start());
    let config = config::<Endless>(&redis.url(), folder.path(), |config| {
        config.server.drain_timeout = Duration::from_millis(100);
    });
    let worker = start::<Endless>(config).await;
    let address = Address::new(redis.url());
    let queue = Queue::redis("label", &address, Options::default()).await.unwrap();
    enqueue(&queue, folder.path(), "job").await;
    let mut client = LearnerServiceClient::new(worker.channel(None));
    let call = tokio::spawn(async move { client.get_status(GetStatusRequest {}).await });
    eventually("an item and a batch are in hand", async || {
        (BEGUN.load(Ordering::SeqCst) == 2).then_some(())
    })
    .await;

    // Without an error: every task ended within the grace period, which the batch would outlast.
    worker.stop().await;
    assert!(call.await.unwrap().is_err(), "the caller was cut off");
    let mut another = queue.consumer("another");
    let delivery = eventually("another worker has the item", async || {
        another.lease(1, Duration::from_millis(100)).await.unwrap().pop()
    })
    .await;
    let lease = delivery.start().await.unwrap().expect("it is to be worked on");
    assert_eq!(lease.attempt(), 1, "what was given back is no attempt");
    lease.release().await.unwrap();
}
