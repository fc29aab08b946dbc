//! The labeler: turns a language model and a prompt template into judgements (paper sections 1, 4).
//!
//! A [`Template`] says what is asked, a [`Judge`] asks it. Verdicts are read from the model's
//! log-probabilities, never from generated text. What cannot be judged comes back as `Unscorable`.

mod compare;
mod error;
mod fill;
mod judge;
mod rate;
mod template;
mod verdict;

pub use compare::{Comparison, OrderScores};
pub use error::Error;
pub use judge::{Item, Judge};
pub use rate::{Answered, Rating};
pub use template::{Exemplar, Kind, Layout, Names, Question, Template};
