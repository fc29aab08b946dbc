//! The coordinator: accepts jobs, hands out their tasks, takes in the results, and writes the report.
//!
//! It holds no tensors. What a job still needs is the business of [`rlaif_job::Machine`]; this crate
//! gives the machine a memory (the [`Journal`]), hands (the queues) and a voice (events).

mod active_job;
mod board;
mod coordinator;
mod crew;
mod dead_letters;
mod deletion;
mod disk;
mod error;
mod event;
mod event_file;
mod exports;
mod hand_out;
mod journal;
mod metrics;
mod pace;
pub mod page;
mod places;
mod queues;
mod record;
pub mod service;
mod take_in;
mod tally;

pub use coordinator::{Accepted, Coordinator, Limits};
pub use crew::{AtQueue, Crew, Done, HeldTask, Seen};
pub use dead_letters::{DeadItem, DeadItemCursor};
pub use deletion::Deleted;
pub use error::Error;
pub use event::{JobEvent, What};
pub use journal::Journal;
pub use places::Places;
pub use queues::{Queues, Trouble};
pub use record::{JobRecord, JobState, Used};
