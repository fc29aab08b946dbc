//! Answers and refusals as JSON.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use rlaif_proto::{Error as WireError, ErrorCode};
use serde_json::json;
use tonic::Status;

/// What a handler answers.
pub type Answer<T> = Result<Json<T>, Refusal>;

/// A status, as JSON.
pub struct Refusal(Status);

impl<E: Into<Status>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refusal(self.0)
    }
}

/// A status of a call in the words of HTTP.
pub fn refusal(status: Status) -> Response {
    let error = WireError::from(status);
    let code = match error.code {
        ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::AlreadyExists | ErrorCode::WrongState => StatusCode::CONFLICT,
        ErrorCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::Cancelled | ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = (code, Json(json!({ "error": error.to_string() }))).into_response();
    if let Some(hint) = error.retry_after {
        let seconds = HeaderValue::from(hint.as_secs_f64().ceil() as u64);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}
