//! Waiting for the disk without holding up calls.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Does `work`, which may wait for a disk for seconds, and has another thread go on meanwhile with what the
/// runtime has to do: few threads answer calls. The work itself stays where it stands, so what is recorded
/// before it is acknowledged is so in the order of the lines.
pub(crate) fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        // No runtime, or one that has a single thread and nobody to hand it to.
        _ => work(),
    }
}
