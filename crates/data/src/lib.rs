//! Datasets: every format that users have, read one record at a time with errors that name the line,
//! converted, filtered, split and inspected in constant memory, written so that a kill damages nothing.

mod appender;
mod atomic;
mod container;
mod error;
mod formats;
mod operations;
mod reader;
mod records;
mod writer;

pub use appender::{JsonlAppender, check_writable, write_atomic, write_jsonl_atomic};
pub use atomic::AtomicFile;
pub use error::Error;
pub use formats::{
    Example, Format, OutputFormat, Unwritable, any_prompt_of, demonstration_of, examples_of,
    item_of, preferences_of, put_finishes,
};
pub use operations::{
    Counts, Filter, Fingerprint, GroupKey, Inspection, Pipeline, PromptSet, Quantiles, Reason,
    Split, convert, inspect, shuffle_sides, split,
};
pub use reader::{Reader, Record};
pub use records::{
    pair_and_human_label_of, pair_of, preference_record, prompt_of, text_of, unscorable_record,
    without,
};
pub use writer::Writer;
