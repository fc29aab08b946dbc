//! What the learner does and published, over gRPC.

use crate::status::{Metrics, Now, Status};
use crate::versions;
use rlaif_proto::DecodeError;
use rlaif_proto::common::v1::MetricRecord;
use rlaif_proto::learner::v1::learner_service_server::LearnerService;
use rlaif_proto::learner::v1::{
    GetStatusRequest, GetStatusResponse, ListVersionsRequest, ListVersionsResponse, PolicyVersion,
};
use rlaif_worker::Resources;
use rlaif_worker::direct::{invalid, unserved};
use tonic::{Request, Response};

/// Versions on one page, and by default.
const PAGE: usize = 100;

/// Answers about one learner. Clones share it.
#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) status: Status,
    pub(crate) resources: Resources,
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
        // The store is asked on a thread that may block.
        let kept = tokio::task::spawn_blocking(move || versions::kept(&job.artifacts)).await;
        let kept = kept.map_err(|panic| tonic::Status::internal(panic.to_string()))?;
        let older: Vec<_> =
            kept.map_err(unserved)?.into_iter().rev().filter(|(step, _)| *step < before).collect();
        let size = match page_size as usize {
            0 => PAGE,
            size => size.min(PAGE),
        };
        let page = &older[..size.min(older.len())];
        let last = page.last().filter(|_| page.len() < older.len());
        let next_page_token = last.map(|(step, _)| step.to_string()).unwrap_or_default();
        let versions = page.iter().map(|(step, name)| PolicyVersion {
            policy_version: *step,
            hash: String::new(),
            step: *step,
            artifact_uri: format!("{job_id}/{name}"),
            published_at: None,
        });
        let versions = versions.collect();
        Ok(Response::new(ListVersionsResponse { versions, next_page_token }))
    }
}
