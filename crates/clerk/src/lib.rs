//! Asks judges on account: what the ledger knows is not asked again, what is asked is in it before it
//! counts, and nothing is begun that could pass the ceiling.
//!
//! The same clerk stands between judges and whoever wants labels: a command, a job's labeler, a caller
//! of the labeler service.

mod accounts;
mod clerk;
mod halves;
mod in_flight;
mod kind;
mod panels;

pub use accounts::{Account, Error, Reuse};
pub use clerk::{Asked, Clerk};
