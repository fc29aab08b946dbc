//! Models by name: where they lie on disk, and how to get those that do not.
//!
//! A [`Store`] is a folder of models. [`Store::find`] never uses the network; [`Store::pull`] asks
//! the Hugging Face hub, resumes what was interrupted, verifies every file, and says plainly what it
//! cannot reach. What is in the files is `rlaif-models`' to know. This is the one crate with
//! connections to other machines.

mod digest;
mod error;
mod known;
mod package;
mod progress;
mod remote;
mod selection;
mod spec;
mod store;
mod transfer;

pub use error::Error;
pub use known::{KNOWN, Known, Package};
pub use progress::{Progress, Silent};
pub use spec::HubSpec;
pub use store::{Store, is_endpoint};
