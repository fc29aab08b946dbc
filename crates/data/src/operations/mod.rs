//! What is done to whole datasets, one record at a time.

mod convert;
mod filter;
mod fingerprint;
mod inspect;
mod pipeline;
mod quantiles;
mod sides;
mod split;

pub use convert::{convert, split};
pub use filter::{Filter, Reason};
pub use fingerprint::{Fingerprint, PromptSet};
pub use inspect::{Inspection, inspect};
pub use pipeline::{Counts, Pipeline};
pub use quantiles::Quantiles;
pub use sides::shuffle_sides;
pub use split::{GroupKey, Split};
