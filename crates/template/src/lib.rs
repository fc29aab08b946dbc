//! What a labeler is asked: prompt templates as files anyone can write (paper section 1).
//!
//! A [`Template`] is data, checked when loaded; [`Asking`] says how it is asked; whoever asks it renders
//! it with [`fill`].

mod asking;
mod error;
mod fill;
mod template;

pub use asking::{Asking, Choice, Reasoning};
pub use error::Error;
pub use fill::{fill, placeholders};
pub use template::{Exemplar, Kind, Layout, Names, Question, RationaleRequest, Template};
