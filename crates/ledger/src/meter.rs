//! The ceiling of a run: nothing is begun that could pass it.
//!
//! Before a question is asked its worst case is reserved; after it, what it really took is settled. A
//! refusal stops what is new, not what is in flight.

use rlaif_types::{Ceiling, Spend};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps a run below its ceiling. Cheap to clone; clones are one meter.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    ceiling: Ceiling,
    account: Arc<Mutex<Account>>,
}

#[derive(Debug, Default)]
struct Account {
    spent: Spend,
    /// Worst cases of what is in flight, and of what was never settled.
    reserved: Spend,
}

/// The worst case of one question, set aside; see [`Meter::reserve`].
///
/// Dropped without [`settle`](Reservation::settle), as by a panic in flight, it stays set aside: the
/// endpoint may have charged for it.
#[derive(Debug)]
#[must_use = "what is reserved has to be settled or released"]
pub struct Reservation {
    account: Arc<Mutex<Account>>,
    worst: Spend,
}

/// A question that is not begun, since it could pass the ceiling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// Where the ceiling is.
    pub ceiling: Ceiling,
    /// What was spent.
    pub spent: Spend,
    /// What is set aside for questions in flight.
    pub in_flight: Spend,
    /// The question's worst case.
    pub worst: Spend,
}

impl Refused {
    /// Whether it may be begun after all when what is in flight has turned out cheaper than its worst
    /// case. If not, the run is at its end.
    pub fn may_fit_later(&self) -> bool {
        self.ceiling.allows(self.spent.with(self.worst))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ceiling, spent, in_flight, worst } = self;
        if let Some(max_cost) = ceiling.max_cost
            && spent.with(*in_flight).with(*worst).cost > max_cost
        {
            return write!(
                f,
                "the next question may cost {}; with {} spent and {} in flight that passes max_cost \
                 = {max_cost}: raise it to go on",
                worst.cost, spent.cost, in_flight.cost
            );
        }
        write!(
            f,
            "the next question may take {} tokens; with {} spent and {} in flight that passes \
             max_tokens = {}: raise it to go on",
            worst.tokens,
            spent.tokens,
            in_flight.tokens,
            ceiling.max_tokens.unwrap_or(u64::MAX)
        )
    }
}

impl Meter {
    /// A meter below `ceiling`, of which `before` is spent: what the ledger says, so that a run that
    /// goes on under a raised ceiling counts all of its past.
    pub fn new(ceiling: Ceiling, before: Spend) -> Self {
        let account = Account { spent: before, reserved: Spend::default() };
        Self { ceiling, account: Arc::new(Mutex::new(account)) }
    }

    /// Sets the worst case of a question aside: its prompt's tokens and the longest completion, in
    /// every call it may take. What takes nothing is free also above the ceiling, which repeated attempts may have
    /// passed, or which may have been lowered.
    ///
    /// # Errors
    /// When it could pass the ceiling; then the question must not be asked.
    pub fn reserve(&self, worst: Spend) -> Result<Reservation, Refused> {
        let mut account = lock(&self.account);
        let reserved = account.reserved.with(worst);
        if worst == Spend::default() || self.ceiling.allows(account.spent.with(reserved)) {
            account.reserved = reserved;
            return Ok(Reservation { account: self.account.clone(), worst });
        }
        let (spent, in_flight) = (account.spent, account.reserved);
        Err(Refused { ceiling: self.ceiling, spent, in_flight, worst })
    }

    /// What was settled, and spent before.
    pub fn spent(&self) -> Spend {
        lock(&self.account).spent
    }

    /// What is set aside.
    pub fn reserved(&self) -> Spend {
        lock(&self.account).reserved
    }
}

impl Reservation {
    /// Counts what the question really took, whether it succeeded or failed. The ceiling is kept
    /// exactly as long as that is no more than was reserved; an engine that charges more than its worst
    /// case is counted in full, and whatever comes next is refused.
    pub fn settle(self, actual: Spend) {
        let mut account = lock(&self.account);
        account.reserved = account.reserved.without(self.worst);
        account.spent = account.spent.with(actual);
    }

    /// Gives it back: the question was never asked.
    pub fn release(self) {
        self.settle(Spend::default());
    }
}

/// An account is whole between two statements, so a panic elsewhere does not spoil it.
fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rlaif_types::Money;
    use std::thread;

    fn spend(cost: u64, tokens: u64) -> Spend {
        Spend { cost: Money::from_picodollars(cost), tokens }
    }

    fn below(cost: u64, tokens: u64) -> Ceiling {
        Ceiling { max_cost: Some(Money::from_picodollars(cost)), max_tokens: Some(tokens) }
    }

    #[test]
    fn what_could_pass_the_ceiling_is_refused_and_fits_when_others_were_cheaper() {
        let meter = Meter::new(below(100, 1000), Spend::default());
        let first = meter.reserve(spend(60, 10)).unwrap();
        let refused = meter.reserve(spend(60, 10)).unwrap_err();
        assert!(refused.may_fit_later());
        first.settle(spend(40, 10));
        meter.reserve(spend(60, 10)).unwrap().settle(spend(60, 10));
        let refused = meter.reserve(spend(1, 0)).unwrap_err();
        assert!(!refused.may_fit_later());
        assert!(refused.to_string().contains("raise it to go on"), "{refused}");
    }

    #[test]
    fn tokens_have_their_own_ceiling() {
        let meter = Meter::new(below(100, 50), Spend::default());
        let refused = meter.reserve(spend(1, 51)).unwrap_err();
        assert!(refused.to_string().contains("max_tokens = 50"), "{refused}");
    }

    #[test]
    fn under_a_raised_ceiling_what_was_spent_before_counts() {
        let before = spend(100, 0);
        assert!(Meter::new(below(100, 1000), before).reserve(spend(1, 1)).is_err());
        let raised = Meter::new(below(130, 1000), before);
        raised.reserve(spend(30, 1)).unwrap().settle(spend(30, 1));
        assert!(raised.reserve(spend(1, 1)).is_err());
    }

    #[test]
    fn what_takes_nothing_is_free_above_the_ceiling() {
        let meter = Meter::new(below(100, 1000), spend(101, 10));
        meter.reserve(Spend::default()).unwrap().settle(Spend::default());
        // What only time will price is not: it takes tokens.
        assert!(meter.reserve(spend(0, 1)).is_err());
        assert_eq!(meter.spent(), spend(101, 10));
    }

    #[test]
    fn a_question_lost_in_flight_stays_set_aside_and_one_never_asked_does_not() {
        let meter = Meter::new(below(100, 1000), Spend::default());
        meter.reserve(spend(40, 1)).unwrap().release();
        assert_eq!(meter.reserved(), Spend::default());
        drop(meter.reserve(spend(40, 1)).unwrap());
        assert_eq!(meter.reserved(), spend(40, 1));
        assert!(meter.reserve(spend(61, 1)).is_err());
    }

    #[test]
    fn threads_together_never_spend_more_than_the_ceiling() {
        let meter = Meter::new(below(10_000, 5_000), Spend::default());
        let work = |seed: u64| {
            let meter = meter.clone();
            move || {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut settled = Spend::default();
                for _ in 0..500 {
                    let (cost, tokens) = (rng.random_range(0..100), rng.random_range(0..40));
                    let Ok(reservation) = meter.reserve(spend(cost, tokens)) else { continue };
                    thread::yield_now();
                    let actual = spend(rng.random_range(0..=cost), rng.random_range(0..=tokens));
                    reservation.settle(actual);
                    settled = settled.with(actual);
                }
                settled
            }
        };
        let threads: Vec<_> = (0..8).map(|seed| thread::spawn(work(seed))).collect();
        let settled =
            threads.into_iter().fold(Spend::default(), |sum, t| sum.with(t.join().unwrap()));
        assert_eq!(meter.spent(), settled);
        assert_eq!(meter.reserved(), Spend::default());
        assert!(below(10_000, 5_000).allows(settled), "{settled:?}");
        // Both ceilings are within reach of what the threads ask for, so one of them was met.
        assert!(!below(9_900, 4_960).allows(settled), "{settled:?}");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Reserve(u64, u64),
        /// Settles the n-th in flight at so many percent of its worst case.
        Settle(usize, u64),
        Release(usize),
        Lose(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0u64..300, 0u64..300).prop_map(|(cost, tokens)| Step::Reserve(cost, tokens)),
            3 => (any::<usize>(), 0u64..=100).prop_map(|(n, percent)| Step::Settle(n, percent)),
            1 => any::<usize>().prop_map(Step::Release),
            1 => any::<usize>().prop_map(Step::Lose),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn spent_and_set_aside_stay_below_the_ceiling_and_add_up(steps in steps()) {
            let ceiling = below(1000, 1200);
            let meter = Meter::new(ceiling, Spend::default());
            let mut in_flight: Vec<Reservation> = Vec::new();
            let (mut settled, mut lost) = (Spend::default(), Spend::default());
            for step in steps {
                match step {
                    Step::Reserve(cost, tokens) => in_flight.extend(meter.reserve(spend(cost, tokens))),
                    _ if in_flight.is_empty() => {}
                    Step::Settle(n, percent) => {
                        let reservation = in_flight.swap_remove(n % in_flight.len());
                        let worst = reservation.worst;
                        let part = |x: u64| x * percent / 100;
                        let actual = spend(part(worst.cost.picodollars()), part(worst.tokens));
                        reservation.settle(actual);
                        settled = settled.with(actual);
                    }
                    Step::Release(n) => in_flight.swap_remove(n % in_flight.len()).release(),
                    Step::Lose(n) => {
                        lost = lost.with(in_flight.swap_remove(n % in_flight.len()).worst);
                    }
                }
                let set_aside = in_flight.iter().fold(lost, |sum, r| sum.with(r.worst));
                prop_assert_eq!(meter.spent(), settled);
                prop_assert_eq!(meter.reserved(), set_aside);
                prop_assert!(ceiling.allows(settled.with(set_aside)));
            }
        }
    }
}
