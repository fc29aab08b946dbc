//! What every command that asks labelers shares: starting them by name, asking each question once in a
//! lifetime, and never spending more than allowed.

mod clerk;
mod labelers;

pub use clerk::{Asked, Clerk, ClerkArgs};
pub use labelers::{Labelers, LabelersArgs};
