//! Which of several arms writes better responses: the numbers of `rlaif eval` and their report
//! (paper section 6).
//!
//! Contests in, an [`Evaluation`] out, a document from that; no inference, no files. An arm is
//! whatever has a response to every prompt: a policy, the best of several draws, texts of people.
//!
//! Three rules hold in every number. A contest that could not be judged is counted and is in no
//! rate. A tie is half a win. A pair of arms is computed of its own contests alone, always seen from
//! the arm whose name comes first: exchanging arms mirrors the matrix to the bit, another arm
//! changes no other pair, and what arms are called changes nothing.

mod contest;
mod evaluation;
mod harmless;
mod head_to_head;
mod matrix;
mod people;
mod report;

pub use contest::{Contest, Verdict};
pub use evaluation::{ArmSummary, Evaluation, Judged};
pub use harmless::{Harmless, Harmlessness};
pub use head_to_head::HeadToHead;
pub use matrix::{Matrix, Options, Standing};
pub use people::{Concordance, People, Ranking};
pub use report::document;
