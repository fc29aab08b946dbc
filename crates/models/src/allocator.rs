//! The allocator of programs that compute with models.
//!
//! A step of training gives back what the next one asks for again, gigabytes in tensors of megabytes. The system's
//! allocator returns each to the kernel, which has to clear it before it is handed out once more; so does mimalloc
//! after a second in which nobody wanted it. On two cores that second made steps of fine-tuning up to twice as long.

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t};
use std::ffi::c_long;

pub use mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;

/// Milliseconds that freed memory is kept for who asks next: longer than a step, shorter than a stage.
const KEPT: c_long = 10_000;

/// Keeps freed memory for ten seconds before the system has it back, where `MIMALLOC_PURGE_DELAY` (in milliseconds)
/// does not say otherwise. For a program whose allocator is [`MiMalloc`], before it computes.
pub fn keep_freed_memory() {
    // SAFETY: it sets a number that mimalloc reads when memory is freed; any thread may do so at any time.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT) }
}

/// Gives back what is kept, before something is made that is large and in one piece: it would fit into no gap, and
/// come on top.
pub fn give_back_freed_memory() {
    // SAFETY: it returns pages that nobody uses; any thread may do so at any time.
    unsafe { mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    /// The number is one of mimalloc 3's; what it had before tells it from its neighbours.
    #[test]
    fn the_option_is_the_delay() {
        // SAFETY: it reads a number.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000);
        keep_freed_memory();
        assert_eq!(delay(), KEPT);
    }
}
