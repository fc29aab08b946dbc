//! Statuses that several parts of the crate answer with.

use crate::batcher;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// RESOURCE_EXHAUSTED with a hint when to come back, as [`RetryInfo`](tonic_types::RetryInfo):
/// [`retry`](crate::client::retry) honours it.
pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

impl From<batcher::Error> for Status {
    fn from(error: batcher::Error) -> Self {
        use batcher::Error as E;
        let message = error.to_string();
        match error {
            E::Overloaded { retry_after } => overloaded(message, retry_after),
            E::TooLarge { .. } => Status::invalid_argument(message),
            E::DeadlineExceeded => Status::deadline_exceeded(message),
            E::Engine { .. } => Status::internal(message),
            E::Stopped => Status::unavailable(message),
        }
    }
}
