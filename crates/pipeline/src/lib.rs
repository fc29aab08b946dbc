//! A whole run: from prompts to an aligned policy and a report that proves it.
//!
//! [`stages`] holds what each stage does to one piece of work; [`run`] drives all of them in one
//! process over a [`RunFolder`](rlaif_job::RunFolder). A cluster drives the same stages over a queue.

mod dialogue;
mod error;
mod local;
mod models;
mod progress;
pub mod stages;

pub use error::Error;
pub use local::{Outcome, RunOptions, run};
pub use progress::{Progress, Silent};
