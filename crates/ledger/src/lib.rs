//! The ledger: every label that was ever paid for, where it came from, and what it cost.
//!
//! A [`Ledger`] is one SQLite file. It is the cache (the same question is never paid twice, a failure
//! is never served), the provenance (a label can be made again by another [`Rule`] without asking
//! again) and the account ([`Meter`] keeps a run below its ceiling, also when it goes on tomorrow).

mod aggregate;
mod checks;
mod entry;
mod error;
mod estimate;
mod ledger;
mod meter;
mod panels;
mod query;
mod question;
mod read;
mod readings;
mod schema;
mod write;

pub use aggregate::{Combine, Orders, Rule, Samples};
pub use entry::{Answer, Entry, Setup};
pub use error::Error;
pub use estimate::{Estimate, Interval, Plan, Sampled};
pub use ledger::{Ledger, Reader};
pub use meter::{Meter, Refused, Reservation};
pub use panels::PanelLabel;
pub use query::{Entries, Filter, Outcomes, Spending};
pub use question::Question;
pub use readings::Kept;
pub use write::Recorded;
