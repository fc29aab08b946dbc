//! Places of calls: how many are answered at once, and how many of them for one caller. A unary call is over in a
//! moment and a stream lasts as long as what it tells of, so each has places of its own: however many streams are
//! open, whoever wants to end a job is answered.

use super::Config;
use crate::auth::{Caller, Role};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All places of a server.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Of calls with one answer.
    pub(super) calls: Arc<Pool>,
    /// Of calls whose answer is a stream.
    pub(super) streams: Arc<Pool>,
    /// Of those who watch the server's health, which takes no token.
    pub(super) health_watches: Arc<Pool>,
}

impl Places {
    pub(super) fn new(config: &Config) -> Self {
        let pool = |what, all: usize| {
            // Without tokens all are one caller, and an administrator.
            let share = if config.auth.enabled { config.caller_share } else { 1.0 };
            let share = ((all as f64 * share) as usize).max(1);
            Arc::new(Pool {
                what,
                all,
                share,
                kept: config.kept_for_admins,
                taken: Mutex::default(),
            })
        };
        let watches = Pool {
            what: "watches of its health",
            all: config.max_health_watches,
            share: config.max_health_watches,
            kept: 0,
            taken: Mutex::default(),
        };
        Self {
            calls: pool("calls", config.max_calls),
            streams: pool("streams", config.max_streams),
            health_watches: Arc::new(watches),
        }
    }
}

/// Places of one kind.
#[derive(Debug)]
pub(super) struct Pool {
    /// What takes a place, in the plural.
    what: &'static str,
    all: usize,
    /// The most that one caller has.
    share: usize,
    /// The last ones, which only administrators get.
    kept: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By the callers' names; without those that have none.
    by_caller: HashMap<Arc<str>, usize>,
}

/// Why there is no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the server is answering as many {what} as it may")]
    All { what: &'static str },
    #[error(
        "{caller} has {share} {what} here, which is as many as one caller may have; end some first"
    )]
    Share { caller: Arc<str>, share: usize, what: &'static str },
}

impl Pool {
    /// A place for a call of `caller`; nobody's where it takes no token.
    pub(super) fn take(self: &Arc<Self>, caller: Option<&Caller>) -> Result<Place, Full> {
        let mut taken = self.taken();
        let is_admin = caller.is_some_and(|caller| caller.role == Role::Admin);
        let open = if is_admin { self.all } else { self.all.saturating_sub(self.kept) };
        if taken.all >= open {
            return Err(Full::All { what: self.what });
        }
        let caller = caller.map(|caller| caller.name.clone());
        if let Some(caller) = &caller {
            let has = taken.by_caller.entry(caller.clone()).or_default();
            if *has >= self.share {
                return Err(Full::Share {
                    caller: caller.clone(),
                    share: self.share,
                    what: self.what,
                });
            }
            *has += 1;
        }
        taken.all += 1;
        Ok(Place { pool: self.clone(), caller })
    }

    /// No code under the guard panics or waits.
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    caller: Option<Arc<str>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.pool.taken();
        taken.all -= 1;
        let Some(caller) = &self.caller else { return };
        if let Some(has) = taken.by_caller.get_mut(caller) {
            *has -= 1;
            if *has == 0 {
                taken.by_caller.remove(caller);
            }
        }
    }
}
