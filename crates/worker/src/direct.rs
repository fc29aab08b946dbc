//! What handlers of direct callers share: deadlines, refusals, streams of answers, and the model that
//! answers.

use crate::Failure;
use futures_util::{Stream, TryStreamExt};
use rlaif_proto::{DecodeError, Error};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::{batcher, server};
use rlaif_types::estimated_tokens;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::time::Instant;
use tonic::{Request, Status, Streaming};

/// Answers of a stream, as they are ready.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How direct callers are batched.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Batching {
    /// Answers of one stream that are computed at once; further questions wait at the caller's.
    pub max_stream_in_flight: usize,
    /// Bounds of batches and of what waits for one.
    pub batcher: batcher::Options,
}

impl Validate for Batching {
    fn validate(&self, problems: &mut Problems) {
        let some = self.max_stream_in_flight > 0;
        problems.check(some, "max_stream_in_flight", "must be at least 1");
        problems.section("batcher", &self.batcher);
    }
}

impl Batching {
    /// What `bytes` of text cost in the batcher's budget. None costs more than a batch: what is too
    /// long for the model has a typed answer, not a refusal.
    pub fn cost(&self, bytes: usize) -> usize {
        estimated_tokens(bytes).clamp(1, self.batcher.max_batch_tokens)
    }
}

/// When the caller stops waiting.
pub fn deadline<T>(request: &Request<T>) -> Option<Instant> {
    request.extensions().get::<server::Deadline>().map(|deadline| deadline.0)
}

/// INVALID_ARGUMENT, with the path of the field.
pub fn invalid(error: DecodeError) -> Status {
    Error::from(error).into()
}

/// A model that cannot be asked: FAILED_PRECONDITION where the operator must mend it, UNAVAILABLE
/// where another time may do.
pub fn unserved(failure: Failure) -> Status {
    match failure {
        Failure::Impossible(why) => Status::failed_precondition(why),
        another_time => Status::unavailable(another_time.into_message()),
    }
}

/// Answers the questions of a stream as they are ready, at most `in_flight` at once. The first error
/// ends it.
pub fn answers<Q, A, F>(
    questions: Streaming<Q>,
    in_flight: usize,
    answer: impl FnMut(Q) -> F + Send + 'static,
) -> Answers<A>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = Result<A, Status>> + Send + 'static,
{
    Box::pin(questions.map_ok(answer).try_buffer_unordered(in_flight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_costs_more_than_a_batch_or_nothing() {
        let batcher = batcher::Options {
            max_batch_tokens: 100,
            max_batch_items: 1,
            max_queued_items: 1,
            max_queued_tokens: 100,
        };
        let batching = Batching { max_stream_in_flight: 1, batcher };
        assert_eq!([0, 9, 1_000_000].map(|bytes| batching.cost(bytes)), [1, 3, 100]);
    }
}
