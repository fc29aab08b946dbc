//! From a unit of work to its result, whatever happens on the way.

use crate::{Failure, Progress};
use rlaif_job::{WorkItem, WorkResult};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does one kind of worker's work.
pub trait Executor: Send + Sync {
    /// Does `item`, on the calling thread. The same item gives the same result, wherever and
    /// however often it is done. Long work asks between its steps whether it
    /// [goes on](Progress::goes_on).
    ///
    /// # Errors
    /// When it may succeed another time or elsewhere. What no retry can mend is a result:
    /// [`WorkResult::Impossible`].
    fn execute(&self, item: &WorkItem, progress: &dyn Progress) -> Result<WorkResult, Retry>;
}

/// There is no result this time, and may be another time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Retry {
    /// The attempt failed. After a few the item is given up.
    #[error("{0}")]
    Failed(String),
    /// What the work needs is away, which passes by itself and is no fault of the item: it was no attempt.
    #[error("{0}")]
    Away(String),
    /// It was told to stop.
    #[error("stopped: nobody waits for its result")]
    Stopped,
}

impl From<Failure> for Retry {
    /// Of what stands before and after the work itself, where nothing is a result.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Impossible(why) | Failure::Retry(why) => Self::Failed(why),
            Failure::Away(why) => Self::Away(why),
            Failure::Stopped => Self::Stopped,
        }
    }
}

/// Runs `work` and sorts its failures. A panic, of a device driver or a kernel say, is one of this
/// attempt: the worker lives on.
///
/// # Errors
/// When the work may succeed another time.
pub fn settle(work: impl FnOnce() -> Result<WorkResult, Failure>) -> Result<WorkResult, Retry> {
    let outcome = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Failure::Retry(format!("panicked: {}", said(&*panic)))));
    match outcome {
        Ok(result) => Ok(result),
        Err(Failure::Impossible(why)) => Ok(WorkResult::Impossible(why)),
        Err(failure) => Err(failure.into()),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_retry_can_mend_is_a_result_and_a_panic_is_retried() {
        let impossible = settle(|| Err(Failure::Impossible("no such model".into())));
        assert_eq!(impossible, Ok(WorkResult::Impossible("no such model".into())));
        let retried = settle(|| panic!("the driver died"));
        assert_eq!(retried, Err(Retry::Failed("panicked: the driver died".into())));
    }
}
