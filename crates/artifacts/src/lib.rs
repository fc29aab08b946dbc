//! Artifacts: what is too big for a queue. Data, training states, versions of a policy, models.
//!
//! An [`ArtifactStore`] is a local folder or a bucket; [`Artifacts`] are those of one job, under the
//! job's own prefix. Whatever is written appears whole or not at all. A [`Payload`] is a message
//! that travels through a queue if it is small and through the store if it is not.

mod artifacts;
mod blocking;
mod error;
mod folder;
mod name;
mod payload;
mod store;

pub use artifacts::Artifacts;
pub use blocking::BlockingArtifacts;
pub use bytes::Bytes;
pub use error::Error;
pub use payload::{MAX_INLINE_BYTES, MAX_STORED_BYTES, Payload, StoredPayload};
pub use store::{ArtifactStore, Removed};
