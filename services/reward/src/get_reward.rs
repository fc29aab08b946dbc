//! `POST /get_reward`, as trainers of OpenRLHF ask a remote reward model: `{"query": [..], "prompts":
//! [..]}` in, each query a prompt with its response, chat template and all; `{"rewards": [..]}` out.
//!
//! A reward that cannot be given has no number to stand for it, so it refuses its whole request.

use crate::handler::Handler;
use crate::scorer::Asked;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use rlaif_service::http::{Config, HttpServer, status};
use rlaif_worker::Task;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What a trainer asks; it also sends labels, which a reward model does not read.
#[derive(Deserialize)]
struct Query {
    query: Vec<String>,
    #[serde(default)]
    prompts: Option<Vec<String>>,
}

/// What it reads. Newer trainers log the scores beside the rewards.
#[derive(Serialize)]
struct Rewards {
    rewards: Vec<f32>,
    scores: Vec<f32>,
}

/// Takes the port now and answers once it is run.
///
/// # Errors
/// When the port cannot be had.
pub(crate) fn task(config: &Config, handler: Handler) -> Result<Task, String> {
    let bound = HttpServer::bind("direct.http.address", config);
    let server = Handle::current().block_on(bound).map_err(|e| e.to_string())?;
    tracing::info!("POST /get_reward is answered on {}", server.address());
    let answer = move |request| {
        let handler = handler.clone();
        async move { answer(&handler, request).await }
    };
    Ok(Box::new(move |shutdown| {
        Box::pin(
            async move { server.serve(answer, shutdown).await.map_err(|never| match never {}) },
        )
    }))
}

async fn answer(handler: &Handler, request: Request<Bytes>) -> Response<String> {
    if request.uri().path() != "/get_reward" {
        return status(StatusCode::NOT_FOUND, "try POST /get_reward\n".to_owned());
    }
    if request.method() != Method::POST {
        return status(StatusCode::METHOD_NOT_ALLOWED, "POST a query\n".to_owned());
    }
    match rewards(handler, request.body()).await {
        Ok(json) => {
            let mut response = Response::new(json);
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        Err(refused) => refusal(&refused),
    }
}

async fn rewards(handler: &Handler, body: &[u8]) -> Result<String, Status> {
    let Query { query, prompts } =
        serde_json::from_slice(body).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let prompts = prompts.unwrap_or_default();
    if !prompts.is_empty() && prompts.len() != query.len() {
        let what = format!("{} prompts for {} queries", prompts.len(), query.len());
        return Err(Status::invalid_argument(what));
    }
    let mut prompts = prompts.into_iter();
    let scored = query.into_iter().enumerate().map(|(i, query)| {
        let prompt = prompts.next();
        async move {
            let cost = handler.cost(query.len());
            let (judgement, _) = handler.score_one(rendered(query, prompt), cost, None).await?;
            let what = |why| Status::out_of_range(format!("query[{i}] has no reward: {why}"));
            judgement.map_err(what)
        }
    });
    let rewards: Vec<f32> = try_join_all(scored).await?;
    let answer = Rewards { scores: rewards.clone(), rewards };
    serde_json::to_string(&answer).map_err(|e| Status::internal(e.to_string()))
}

/// The part that the template rendered, and the response behind it. Without a prompt all of it is the
/// trainer's.
fn rendered(query: String, prompt: Option<String>) -> Asked {
    match prompt.and_then(|prompt| Some((query.strip_prefix(&prompt)?.to_owned(), prompt))) {
        Some((response, prompt)) => Asked::Rendered { prompt, response },
        None => Asked::Rendered { prompt: query, response: String::new() },
    }
}

fn refusal(refused: &Status) -> Response<String> {
    let code = match refused.code() {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::OutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable | Code::FailedPrecondition => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = status(code, format!("{}\n", refused.message()));
    let hint = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    if let Some(hint) = hint {
        let seconds = HeaderValue::from(hint.as_secs_f64().ceil() as u64);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_template_rendered_may_hold_special_tokens() {
        let query = "<|user|>Hi<|bot|>I am <|user|>".to_owned();
        let Asked::Rendered { prompt, response } =
            rendered(query.clone(), Some("<|user|>Hi<|bot|>".to_owned()))
        else {
            panic!("a rendered query")
        };
        assert_eq!((prompt.as_str(), response.as_str()), ("<|user|>Hi<|bot|>", "I am <|user|>"));
    }
}
