//! The labeler: turns a language model and a prompt template into judgements (paper sections 1, 4).
//!
//! A [`Template`](rlaif_template::Template) says what is asked, a [`Judge`] asks it. Verdicts are
//! read from the model's log-probabilities, never from generated text. What cannot be judged comes
//! back as `Unscorable`.

mod compare;
mod error;
mod judge;
mod rate;
mod verdict;

pub use error::Error;
pub use judge::Judge;
