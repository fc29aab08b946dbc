//! What the learner does and published, over gRPC.

use crate::status::{Metrics, Now, Status};
use crate::versions::Hashes;
use rlaif_proto::DecodeError;
use rlaif_proto::common::v1::MetricRecord;
use rlaif_proto::learner::v1::learner_service_server::LearnerService;
use rlaif_proto::learner::v1::{
    GetStatusRequest, GetStatusResponse, ListVersionsRequest, ListVersionsResponse, PolicyVersion,
};
use rlaif_worker::direct::{invalid, unserved};
use rlaif_worker::{Failure, JobResources, Resources, kept_versions};
use tonic::{Request, Response};

/// Versions on one page, and by default.
const PAGE: usize = 100;

/// Answers about one learner. Clones share it.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) status: Status,
    pub(crate) resources: Resources,
    pub(crate) hashes: Hashes,
}

#[tonic::async_trait]
impl LearnerService for Handler {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, tonic::Status> {
        let Now { job, stage, step, total_steps, policy_version, metrics } = self.status.now();
        let record = |Metrics { stage, step, values }| MetricRecord { stage, step, values };
        let (job_id, metrics) = (job, metrics.map(record));
        let status =
            GetStatusResponse { job_id, stage, step, total_steps, policy_version, metrics };
        Ok(Response::new(status))
    }

    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, tonic::Status> {
        let ListVersionsRequest { job_id, page_size, page_token } = request.into_inner();
        let wrong = |field: &str, what: String| invalid(DecodeError::new(field, what));
        if job_id.is_empty() {
            return Err(wrong("job_id", "is missing".to_owned()));
        }
        let before = match page_token.as_str() {
            "" => u64::MAX,
            token => {
                token.parse().map_err(|_| wrong("page_token", "is none of ours".to_owned()))?
            }
        };
        let job = self.resources.job(&job_id);
        let job = job.map_err(|what| wrong("job_id", what.into_message()))?;
        let size = match page_size as usize {
            0 => PAGE,
            size => size.min(PAGE),
        };
        // The store is asked on a thread that may block.
        let hashes = self.hashes.clone();
        let page = tokio::task::spawn_blocking(move || page(&job, &hashes, before, size)).await;
        let page = page.map_err(|panic| tonic::Status::internal(panic.to_string()))?;
        let (versions, more) = page.map_err(unserved)?;
        let last = versions.last().filter(|_| more);
        let next_page_token = last.map(|v| v.policy_version.to_string()).unwrap_or_default();
        Ok(Response::new(ListVersionsResponse { versions, next_page_token }))
    }
}

/// At most `size` versions older than `before`, newest first, and whether there are more.
fn page(
    job: &JobResources,
    hashes: &Hashes,
    before: u64,
    size: usize,
) -> Result<(Vec<PolicyVersion>, bool), Failure> {
    let artifacts = &job.artifacts;
    let kept = kept_versions(artifacts)?;
    let older: Vec<_> = kept.into_iter().rev().filter(|(step, _)| *step < before).collect();
    let shown = &older[..size.min(older.len())];
    let versions = shown.iter().map(|(step, name)| {
        Ok(PolicyVersion {
            policy_version: *step,
            hash: hashes.of(artifacts, name)?.to_string(),
            step: *step,
            artifact_uri: artifacts.location(name)?,
            published_at: None,
        })
    });
    Ok((versions.collect::<Result<_, Failure>>()?, shown.len() < older.len()))
}
