//! `JobService`: each call checked, and done by the [`Coordinator`].

use super::{files, watch};
use crate::{Accepted, Coordinator, DeadItemCursor, JobRecord};
use rlaif_job::{Submission, TaskId};
use rlaif_proto::coordinator::v1::job_service_server::JobService;
use rlaif_proto::coordinator::v1::*;
use rlaif_proto::{Error as WireError, ErrorCode, Violation};
use rlaif_types::{Ceiling, Money};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Longest submission key.
const MAX_KEY_BYTES: usize = 256;
/// Jobs or dead letters in a page, where the client does not say, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 500;

/// Answers calls once there is a coordinator; until then it says that it waits.
#[derive(Clone)]
pub struct Handler {
    /// Empty until the queues answer.
    pub coordinator: Arc<OnceLock<Coordinator>>,
    /// Ends streams that would hold a drain up.
    pub shutdown: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

impl Handler {
    /// The coordinator.
    ///
    /// # Errors
    /// While it waits for its queues.
    pub fn coordinator(&self) -> Result<&Coordinator, Status> {
        self.coordinator.get().ok_or_else(|| {
            Status::unavailable("the coordinator waits for its queue; try again in a moment")
        })
    }
}

#[tonic::async_trait]
impl JobService for Handler {
    type WatchJobStream = ReceiverStream<Result<WatchJobResponse, Status>>;
    type ExportPreferencesStream = files::Answers<ExportPreferencesResponse>;
    type GetReportStream = files::Answers<GetReportResponse>;

    async fn submit_job(&self, request: Request<SubmitJobRequest>) -> Answer<SubmitJobResponse> {
        let coordinator = self.coordinator()?;
        let request = request.into_inner();
        let key = request.idempotency_key.clone();
        // Hashing and reading megabytes is not for the threads that answer calls.
        let read = tokio::task::spawn_blocking(move || submission(request)).await;
        let submission = Arc::new(read.map_err(|e| Status::internal(e.to_string()))??);
        let accepted = coordinator.submit(submission.clone(), &key).await?;
        let Accepted { id, already_submitted } = accepted;
        if already_submitted && !coordinator.is_made_of(&id, &submission)? {
            let message = format!("the key was used for another job, {id}; choose another key");
            return Err(WireError::new(ErrorCode::AlreadyExists, message).into());
        }
        Ok(Response::new(SubmitJobResponse { job_id: id, already_submitted }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Answer<GetJobResponse> {
        let job = self.coordinator()?.job(&request.into_inner().job_id)?;
        Ok(Response::new(GetJobResponse { job: Some(job.into()) }))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Answer<ListJobsResponse> {
        let ListJobsRequest { page_size, page_token } = request.into_inner();
        let mut jobs = self.coordinator()?.list();
        jobs.sort_by(|a, b| place(b).cmp(&place(a)));
        if !page_token.is_empty() {
            let before = read_place(&page_token)?;
            jobs.retain(|job| place(job) < (before.0, before.1.as_str()));
        }
        let size = page(page_size);
        let more = jobs.len() > size;
        jobs.truncate(size);
        let last = jobs.last().filter(|_| more).map(place);
        let next_page_token = last.map(|(ms, id)| format!("{ms}/{id}")).unwrap_or_default();
        let jobs = jobs.into_iter().map(Into::into).collect();
        Ok(Response::new(ListJobsResponse { jobs, next_page_token }))
    }

    async fn watch_job(&self, request: Request<WatchJobRequest>) -> Answer<Self::WatchJobStream> {
        let WatchJobRequest { job_id, after_sequence } = request.into_inner();
        let coordinator = self.coordinator()?.clone();
        // An unknown job is the call's error, not the stream's.
        coordinator.job(&job_id)?;
        let (sender, receiver) = mpsc::channel(watch::BUFFER);
        let stop = self.shutdown.clone();
        tokio::spawn(watch::watch(coordinator, job_id, after_sequence, sender, stop));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Answer<CancelJobResponse> {
        let job = self.coordinator()?.cancel(&request.into_inner().job_id).await?;
        Ok(Response::new(CancelJobResponse { job: Some(job.into()) }))
    }

    async fn pause_job(&self, request: Request<PauseJobRequest>) -> Answer<PauseJobResponse> {
        let job = self.coordinator()?.pause(&request.into_inner().job_id).await?;
        Ok(Response::new(PauseJobResponse { job: Some(job.into()) }))
    }

    async fn resume_job(&self, request: Request<ResumeJobRequest>) -> Answer<ResumeJobResponse> {
        let ResumeJobRequest { job_id, max_cost, max_tokens } = request.into_inner();
        let max_cost = Some(max_cost).filter(|text| !text.is_empty());
        let max_cost = max_cost.map(|text| Money::parse(&text)).transpose();
        let max_cost = max_cost.map_err(|error| invalid("max_cost", error.to_string()))?;
        let coordinator = self.coordinator()?;
        let known = coordinator.job(&job_id)?;
        if max_cost.is_some() && known.price.is_none() {
            return Err(crate::Error::NoPrice(job_id).into());
        }
        let ceiling = Ceiling { max_cost, max_tokens }.or(known.ceiling);
        let job = coordinator.resume(&job_id, ceiling).await?;
        Ok(Response::new(ResumeJobResponse { job: Some(job.into()) }))
    }

    async fn delete_job(&self, request: Request<DeleteJobRequest>) -> Answer<DeleteJobResponse> {
        let deleted = self.coordinator()?.delete(&request.into_inner().job_id).await?;
        Ok(Response::new(DeleteJobResponse {
            result_count: deleted.results,
            dead_letter_count: deleted.dead_letters,
            file_count: deleted.removed.files,
            freed_bytes: deleted.removed.bytes,
            swept: deleted.is_swept,
        }))
    }

    async fn export_preferences(
        &self,
        request: Request<ExportPreferencesRequest>,
    ) -> Answer<Self::ExportPreferencesStream> {
        let folder = self.coordinator()?.run_folder(&request.into_inner().job_id)?;
        Ok(Response::new(files::preferences(&folder)))
    }

    async fn get_report(
        &self,
        request: Request<GetReportRequest>,
    ) -> Answer<Self::GetReportStream> {
        let request = request.into_inner();
        let folder = self.coordinator()?.run_folder(&request.job_id)?;
        let format = ReportFormat::try_from(request.format).unwrap_or_default();
        let file = files::report_file(format)
            .ok_or_else(|| invalid("format", "must be one of the report formats"))?;
        let path = folder.path(file);
        if !path.exists() {
            let message = format!("job {} has no report yet; watch it", request.job_id);
            return Err(WireError::new(ErrorCode::WrongState, message).into());
        }
        Ok(Response::new(files::report(path)))
    }

    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Answer<ListDeadLettersResponse> {
        let ListDeadLettersRequest { job_id, page_size, page_token } = request.into_inner();
        let from = match page_token.as_str() {
            "" => DeadItemCursor::START,
            token => token.parse().map_err(|e: String| invalid("page_token", e))?,
        };
        let size = page(page_size);
        let found = self.coordinator()?.dead_letters(&job_id, from, size).await?;
        let full = found.len() == size;
        let last = found.last().filter(|_| full);
        let next_page_token = last.map(|last| last.cursor.to_string()).unwrap_or_default();
        let dead_letters = found.into_iter().map(Into::into).collect();
        Ok(Response::new(ListDeadLettersResponse { dead_letters, next_page_token }))
    }

    async fn requeue_dead_letters(
        &self,
        request: Request<RequeueDeadLettersRequest>,
    ) -> Answer<RequeueDeadLettersResponse> {
        let RequeueDeadLettersRequest { job_id, dead_letter_ids, all } = request.into_inner();
        if all != dead_letter_ids.is_empty() {
            let what = "must name dead letters, or be empty where `all` is set";
            return Err(invalid("dead_letter_ids", what));
        }
        let read = |(i, id): (usize, &String)| {
            id.parse().map_err(|e: String| invalid(&format!("dead_letter_ids[{i}]"), e))
        };
        let tasks: Vec<TaskId> =
            dead_letter_ids.iter().enumerate().map(read).collect::<Result<_, Status>>()?;
        let wanted = (!all).then_some(tasks.as_slice());
        let requeued = self.coordinator()?.requeue(&job_id, wanted).await?;
        Ok(Response::new(RequeueDeadLettersResponse { requeued_count: requeued as u64 }))
    }
}

/// The submission of a request; all that is wrong with it at once.
fn submission(request: SubmitJobRequest) -> Result<Submission, Status> {
    let mut violations = Vec::new();
    let mut add = |field: String, what: String| violations.push(Violation { field, what });
    if !(1..=MAX_KEY_BYTES).contains(&request.idempotency_key.len()) {
        let what = format!("must have 1 to {MAX_KEY_BYTES} bytes");
        add("idempotency_key".into(), what);
    }
    let mut files = BTreeMap::new();
    for (i, attachment) in request.attachments.into_iter().enumerate() {
        if let Err(error) = attachment.verify() {
            let error = error.within(&format!("attachments[{i}]"));
            add(error.path, error.what);
        }
        let name = attachment.name.clone();
        if files.insert(attachment.name, attachment.content.to_vec()).is_some() {
            add(format!("attachments[{i}].name"), format!("{name:?} is there twice"));
        }
    }
    match Submission::from_parts(&request.job_toml, files) {
        Ok(submission) if violations.is_empty() => Ok(submission),
        Ok(_) => Err(WireError::invalid("the job is invalid", violations).into()),
        Err(problems) => {
            let violation = |p: rlaif_types::Problem| Violation { field: p.field, what: p.what };
            violations.extend(problems.0.into_iter().map(violation));
            Err(WireError::invalid("the job is invalid", violations).into())
        }
    }
}

fn invalid(field: &str, what: impl Into<String>) -> Status {
    let violations = vec![Violation { field: field.to_owned(), what: what.into() }];
    WireError::invalid("the request is invalid", violations).into()
}

fn page(asked: u32) -> usize {
    match asked as usize {
        0 => PAGE,
        size => size.min(MAX_PAGE),
    }
}

/// Where a job is in the list: newest last.
fn place(job: &JobRecord) -> (u64, &str) {
    (job.created_unix_ms, &job.id)
}

fn read_place(token: &str) -> Result<(u64, String), Status> {
    let parts = token.split_once('/').and_then(|(ms, id)| Some((ms.parse().ok()?, id.to_owned())));
    parts.ok_or_else(|| invalid("page_token", "is not one that a listing gave"))
}
