//! What a worker tells whoever is watching, and whether anybody still wants its result. Nothing depends on
//! what it tells: the result holds everything.

use crate::Failure;
use rlaif_job::Tokens;
use serde_json::Value;

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance<'a> {
    /// The stage it belongs to.
    pub stage: &'a str,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// The latest figure of interest.
    pub note: &'a str,
}

/// Listens to a worker. Called between steps, on the thread that works.
pub trait Progress: Sync {
    /// A step is done.
    fn advance(&self, advance: &Advance<'_>);
    /// What it measured, as it will stand in the job's metrics.
    fn measured(&self, record: &Value);
    /// Tokens that a model has read and written. Called while the model is lent, so that the use's
    /// span is known by it.
    fn used(&self, tokens: Tokens);

    /// Whether the result is of no use any more: the item was taken back, or another worker has it.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Asked between steps of long work, which else keeps a device busy, or an endpoint paid, in vain.
    ///
    /// # Errors
    /// [`Failure::Stopped`], with which the work is to end.
    fn goes_on(&self) -> Result<(), Failure> {
        match self.is_stopped() {
            true => Err(Failure::Stopped),
            false => Ok(()),
        }
    }
}
