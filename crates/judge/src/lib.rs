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

pub use error::Error;
pub use judge::Judge;
// What a judge is asked and answers crosses files and wires, and so belongs to the vocabulary.
pub use rlaif_types::{Answered, Comparison, Item, OrderScores, Rating};
pub use template::{Exemplar, Kind, Layout, Names, Question, Template};
