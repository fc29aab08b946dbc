//! Questions that are being asked: who wants one of them waits for its answer instead of paying twice.

use rlaif_types::LabelId;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Questions that are being asked now.
#[derive(Default)]
pub(crate) struct InFlight {
    asked: Mutex<HashSet<LabelId>>,
    answered: Condvar,
}

/// Questions that nobody else asks for as long as this lives.
pub(crate) struct Claim<'a> {
    among: &'a InFlight,
    ids: HashSet<LabelId>,
}

impl InFlight {
    /// Waits until nobody asks any of `ids`, and claims them all at once: who holds a claim waits for no
    /// other, so claims cannot block each other for good.
    pub(crate) fn claim(&self, ids: &[LabelId]) -> Claim<'_> {
        let wanted: HashSet<LabelId> = ids.iter().cloned().collect();
        let free = |asked: &mut HashSet<LabelId>| !asked.is_disjoint(&wanted);
        let waited = self.answered.wait_while(self.asked(), free);
        waited.unwrap_or_else(PoisonError::into_inner).extend(wanted.iter().cloned());
        Claim { among: self, ids: wanted }
    }

    /// Nothing panics under the lock.
    fn asked(&self) -> MutexGuard<'_, HashSet<LabelId>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.among.asked().retain(|id| !self.ids.contains(id));
        self.among.answered.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_types::ContentHash;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn a_question_is_asked_by_one_at_a_time_and_others_go_on() {
        let (in_flight, now, most) =
            (InFlight::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let id = |i: usize| LabelId(ContentHash::of(format!("{i}")));
        let first = in_flight.claim(&[id(0)]);
        // Another question is free meanwhile.
        drop(in_flight.claim(&[id(9)]));
        drop(first);
        thread::scope(|scope| {
            for i in 0..8 {
                let ids = [id(0), id(i)];
                let (in_flight, now, most) = (&in_flight, &now, &most);
                scope.spawn(move || {
                    let _claim = in_flight.claim(&ids);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.into_inner(), 1);
        assert!(in_flight.asked().is_empty());
    }
}
