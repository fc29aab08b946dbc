//! The page's data. What `JobService` does is done by it; what it does not have is read from the run
//! folder, as it lies there.

use super::access::{self, admit};
use super::answer::{Answer, Refusal};
use super::events::events;
use super::records::{self, Stretch};
use super::{Site, view};
use crate::Coordinator;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use rlaif_job::{LabelSummary, RunFolder};
use rlaif_proto::coordinator::v1::job_service_server::JobService;
use rlaif_proto::coordinator::v1::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use tokio_stream::StreamExt;
use tonic::{Request, Status};

/// Records in an answer, where the page does not say, and at most.
const RECORDS: usize = 50;
const MAX_RECORDS: usize = 1000;

/// Each path with the call whose rule it has: who may not make the call may not ask here.
pub fn routes(site: &Site) -> Router<Site> {
    let may = |rpc: &'static str, route: MethodRouter<Site>| {
        route.layer(from_fn_with_state((site.clone(), rpc), admit))
    };
    Router::new()
        .route("/api/session", get(session))
        .route("/api/events", may("WatchJob", get(events)))
        .route("/api/jobs", may("ListJobs", get(list_jobs)))
        .route("/api/jobs/{id}", may("GetJob", get(get_job)))
        .route("/api/jobs/{id}/pause", may("PauseJob", post(pause_job)))
        .route("/api/jobs/{id}/resume", may("ResumeJob", post(resume_job)))
        .route("/api/jobs/{id}/cancel", may("CancelJob", post(cancel_job)))
        .route("/api/jobs/{id}/delete", may("DeleteJob", post(delete_job)))
        .route("/api/jobs/{id}/report", may("GetReport", get(report)))
        .route("/api/jobs/{id}/labels", may("ExportPreferences", get(labels)))
        .route("/api/jobs/{id}/metrics", may("WatchJob", get(metrics)))
        .route("/api/jobs/{id}/quality", may("WatchJob", get(quality)))
        .route("/api/jobs/{id}/samples", may("GetReport", get(samples)))
        .route("/api/jobs/{id}/evaluation", may("GetReport", get(evaluation)))
        .route("/api/jobs/{id}/dead-letters", may("ListDeadLetters", get(list_dead_letters)))
        .route(
            "/api/jobs/{id}/dead-letters/requeue",
            may("RequeueDeadLetters", post(requeue_dead_letters)),
        )
        .route("/api/workers", may("ListJobs", get(workers)))
}

/// Who asks, and what they may do.
#[derive(Serialize)]
struct Session {
    /// Whether the coordinator knows callers by their tokens.
    asks_for_tokens: bool,
    /// The token's name; none without a token.
    caller: Option<String>,
    may_look: bool,
    may_steer: bool,
    may_requeue: bool,
    may_delete: bool,
}

/// Open to everybody, so that a page without a token learns that it needs one.
async fn session(State(site): State<Site>, headers: HeaderMap) -> Answer<Session> {
    let access::Door { asks_for_tokens, .. } = site.door;
    let may = |rpc| site.door.admit(rpc, &headers);
    let caller = may("ListJobs").ok().flatten().filter(|_| asks_for_tokens);
    Ok(Json(Session {
        asks_for_tokens,
        caller: caller.map(|caller| caller.name.to_string()),
        may_look: may("ListJobs").is_ok(),
        may_steer: may("PauseJob").is_ok(),
        may_requeue: may("RequeueDeadLetters").is_ok(),
        may_delete: may("DeleteJob").is_ok(),
    }))
}

/// A page of a listing.
#[derive(Deserialize)]
struct PageOf {
    #[serde(default)]
    size: u32,
    #[serde(default)]
    token: String,
}

async fn list_jobs(State(site): State<Site>, Query(page): Query<PageOf>) -> Answer<view::Jobs> {
    let request = ListJobsRequest { page_size: page.size, page_token: page.token };
    Ok(Json(site.handler.list_jobs(Request::new(request)).await?.into_inner().into()))
}

/// A job, and what it was asked to do.
#[derive(Serialize)]
struct JobInFull {
    #[serde(flatten)]
    job: view::Job,
    policy: String,
    labeler: String,
    template: String,
    /// Who judges the result; none where the labeler does.
    judge: Option<String>,
    reward: rlaif_job::RewardSource,
}

async fn get_job(State(site): State<Site>, Path(job_id): Path<String>) -> Answer<JobInFull> {
    let folder = site.folder(&job_id)?;
    let answer = site.handler.get_job(Request::new(GetJobRequest { job_id })).await?.into_inner();
    let asked = reading(move || Ok(rlaif_job::Job::parse(&folder.path("job.toml")))).await?;
    let asked = asked.map_err(crate::Error::from)?;
    Ok(Json(JobInFull {
        job: answer.job.unwrap_or_default().into(),
        policy: asked.policy.model,
        labeler: asked.labeler.model,
        template: asked.labeler.template,
        judge: asked.evaluate.judge.map(|judge| judge.model),
        reward: asked.rl.reward,
    }))
}

/// The body of a request that says nothing further. It must be JSON all the same, which a browser
/// sends for no page from elsewhere without asking us first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NothingFurther {}

async fn pause_job(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Json(NothingFurther {}): Json<NothingFurther>,
) -> Answer<view::Job> {
    let answer = site.handler.pause_job(Request::new(PauseJobRequest { job_id })).await?;
    Ok(Json(answer.into_inner().job.unwrap_or_default().into()))
}

async fn resume_job(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Json(NothingFurther {}): Json<NothingFurther>,
) -> Answer<view::Job> {
    let answer = site
        .handler
        .resume_job(Request::new(ResumeJobRequest { job_id, ..Default::default() }))
        .await?;
    Ok(Json(answer.into_inner().job.unwrap_or_default().into()))
}

async fn cancel_job(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Json(NothingFurther {}): Json<NothingFurther>,
) -> Answer<view::Job> {
    let answer = site.handler.cancel_job(Request::new(CancelJobRequest { job_id })).await?;
    Ok(Json(answer.into_inner().job.unwrap_or_default().into()))
}

/// What went with a job.
#[derive(Serialize)]
struct Deleted {
    results: u64,
    dead_letters: u64,
    files: u64,
    bytes: u64,
    swept: bool,
}

async fn delete_job(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Json(NothingFurther {}): Json<NothingFurther>,
) -> Answer<Deleted> {
    let answer = site.handler.delete_job(Request::new(DeleteJobRequest { job_id })).await?;
    let DeleteJobResponse { result_count, dead_letter_count, file_count, freed_bytes, swept } =
        answer.into_inner();
    Ok(Json(Deleted {
        results: result_count,
        dead_letters: dead_letter_count,
        files: file_count,
        bytes: freed_bytes,
        swept,
    }))
}

/// The report as a file to keep: within the page it would need a style that the page forbids.
async fn report(
    State(site): State<Site>,
    Path(job_id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let request = GetReportRequest { job_id, format: ReportFormat::Html.into() };
    let parts = site.handler.get_report(Request::new(request)).await?.into_inner();
    let bytes = parts.map(|part| part.map(|part| part.chunk));
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"report.html\""),
    ];
    Ok((headers, Body::from_stream(bytes)))
}

/// Which records of a file: those after a place, those before one, or the last.
#[derive(Deserialize)]
struct Which {
    after: Option<u64>,
    before: Option<u64>,
    max: Option<usize>,
}

impl Which {
    async fn of(self, folder: RunFolder, file: &'static str) -> Answer<Stretch> {
        let max = self.max.unwrap_or(RECORDS).clamp(1, MAX_RECORDS);
        let read = move || match self.after {
            Some(place) => records::following(&folder.path(file), place, max),
            None => records::preceding(&folder.path(file), self.before, max),
        };
        Ok(Json(reading(read).await?))
    }
}

async fn labels(
    State(site): State<Site>,
    Path(job): Path<String>,
    Query(which): Query<Which>,
) -> Answer<Stretch> {
    which.of(site.folder(&job)?, "labels.jsonl").await
}

async fn metrics(
    State(site): State<Site>,
    Path(job): Path<String>,
    Query(which): Query<Which>,
) -> Answer<Stretch> {
    which.of(site.folder(&job)?, "metrics.jsonl").await
}

async fn evaluation(
    State(site): State<Site>,
    Path(job): Path<String>,
    Query(which): Query<Which>,
) -> Answer<Stretch> {
    which.of(site.folder(&job)?, "evaluation.jsonl").await
}

#[derive(Deserialize)]
struct OfStep {
    step: Option<u64>,
}

/// Rollouts of a step.
#[derive(Serialize)]
struct Samples {
    /// The last step that has any; none before the first.
    last_step: Option<u64>,
    records: Vec<Value>,
}

/// Of the last step where none is named.
async fn samples(
    State(site): State<Site>,
    Path(job): Path<String>,
    Query(asked): Query<OfStep>,
) -> Answer<Samples> {
    let path = site.folder(&job)?.path("samples.jsonl");
    let read = move || {
        let last = records::preceding(&path, None, 1)?.records;
        let last_step = last.first().and_then(|record| record["step"].as_u64());
        let records = match asked.step.or(last_step) {
            Some(step) => records::of_step(&path, step, MAX_RECORDS)?,
            None => Vec::new(),
        };
        Ok(Samples { last_step, records })
    };
    Ok(Json(reading(read).await?))
}

/// How good labels, reward model and policy are, as far as that is known.
#[derive(Serialize)]
struct Quality {
    labels: LabelSummary,
    /// What the reward stage left; none before it is done.
    reward: Option<Value>,
    /// Win rates by template; none before all is judged.
    evaluate: Option<Value>,
}

async fn quality(State(site): State<Site>, Path(job): Path<String>) -> Answer<Quality> {
    let (folder, labels_so_far) = (site.folder(&job)?, site.labels_so_far.clone());
    let coordinator = site.coordinator()?.clone();
    let read = move || {
        let was_deleted = |id: &str| coordinator.shared.board.was_deleted(id);
        let labels = labels_so_far.of(&job, &folder.path("labels.jsonl"), was_deleted)?;
        let finished = |stage| folder.finished(stage).map_err(io::Error::other);
        Ok(Quality { labels, reward: finished("reward")?, evaluate: finished("evaluate")? })
    };
    Ok(Json(reading(read).await?))
}

async fn list_dead_letters(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Query(page): Query<PageOf>,
) -> Answer<view::DeadLetters> {
    let request = ListDeadLettersRequest { job_id, page_size: page.size, page_token: page.token };
    Ok(Json(site.handler.list_dead_letters(Request::new(request)).await?.into_inner().into()))
}

/// Dead letters by their ids, or all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requeue {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    all: bool,
}

#[derive(Serialize)]
struct Requeued {
    requeued: u64,
}

async fn requeue_dead_letters(
    State(site): State<Site>,
    Path(job_id): Path<String>,
    Json(Requeue { ids, all }): Json<Requeue>,
) -> Answer<Requeued> {
    let request = RequeueDeadLettersRequest { job_id, dead_letter_ids: ids, all };
    let answer = site.handler.requeue_dead_letters(Request::new(request)).await?.into_inner();
    Ok(Json(Requeued { requeued: answer.requeued_count }))
}

async fn workers(State(site): State<Site>) -> Answer<Vec<view::Workers>> {
    let crews = site.coordinator()?.crews().await;
    Ok(Json(crews.into_iter().map(Into::into).collect()))
}

impl Site {
    fn coordinator(&self) -> Result<&Coordinator, Status> {
        self.handler.coordinator()
    }

    fn folder(&self, job: &str) -> Result<RunFolder, Status> {
        Ok(self.coordinator()?.run_folder(job)?)
    }
}

/// Reads files on a thread that may wait for them.
async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|panic| Status::internal(panic.to_string()))?.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Status::invalid_argument(error.to_string()),
        _ => {
            tracing::error!("the page's data: {error}");
            Status::internal(error.to_string())
        }
    })
}
