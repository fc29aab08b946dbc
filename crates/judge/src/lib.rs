//! The labeler: turns a language model and a prompt template into judgements (paper sections 1, 4).
//!
//! A [`Template`](rlaif_template::Template) says what is asked and [`Asking`](rlaif_template::Asking) how; a
//! [`Judge`] asks it of an [`Engine`]. Verdicts are read from log-probabilities, never from generated
//! text. What cannot be judged comes back as `Unscorable`.

mod compare;
mod descent;
mod endpoint;
mod engine;
mod error;
mod fence;
mod judge;
mod local;
mod memory;
mod panel;
mod presence;
mod rate;
mod spelling;
mod verdict;

pub use endpoint::EndpointEngine;
pub use engine::{Accounted, Effort, Engine, Identity, News, Question, Reading, Thought};
pub use error::Error;
pub use judge::Judge;
pub use local::LocalEngine;
pub use memory::{Forgetful, Keys, Memory, Recalled};
pub use panel::{Panel, Rule};
pub use rlaif_openai::Error as EndpointError;
