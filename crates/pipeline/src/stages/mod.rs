//! What each stage does to one piece of work. No files, no progress, no queue: whatever drives the
//! stages brings those.

pub mod evaluate;
pub mod label;
pub mod policy;
pub mod reward;
pub mod sample;
