//! What every command that asks labelers shares: starting them by name, asking each question once in a
//! lifetime, and never spending more than allowed.

mod clerk_args;
mod estimate;
mod fates;
mod job_prices;
mod labelers;
mod observed;
mod questions;
mod run_report;
mod standing;
mod working_ledger;

pub use clerk_args::{BudgetArgs, ClerkArgs, describe_spent};
pub use estimate::{Sampling, estimate_job};
pub use fates::{Fate, Fates};
pub use job_prices::job_prices;
pub use labelers::{Labelers, LabelersArgs};
pub use observed::{arm, group, identity, observation};
pub use run_report::{RunReport, write};
pub use standing::Standing;
pub use working_ledger::WorkingLedger;
