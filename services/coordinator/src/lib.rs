//! The coordinator: accepts jobs, hands out their tasks, takes in the results, and writes the report.
//!
//! It holds no tensors. What a job still needs is the business of [`rlaif_job::Machine`]; this crate
//! gives the machine a memory (the [`Journal`]), hands (the queues) and a voice (events).

mod active_job;
mod coordinator;
mod error;
mod event;
mod exports;
mod journal;
mod places;

pub use coordinator::{Coordinator, Queues};
pub use error::Error;
pub use event::{JobEvent, What};
pub use journal::{JobRecord, JobState, Journal};
pub use places::Places;
