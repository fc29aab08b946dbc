//! Datasets as lines of JSON: reading with errors that name the line, writing that survives a kill.

mod appender;
mod error;
mod reader;
mod records;

pub use appender::{JsonlAppender, write_atomic, write_jsonl_atomic};
pub use error::Error;
pub use reader::{Reader, Record};
pub use records::{pair_of, preference_record, prompt_of, response_of, text_of};
