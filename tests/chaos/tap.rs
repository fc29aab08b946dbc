//! The wire between a worker and Redis, where the storm sees a result go by before Redis does.
//!
//! A [`Tap`] forwards everything, but it can hold a result back. A worker that is killed then has
//! started an item, worked on it, and told nobody; one that is frozen then and woken after its lease
//! sends the result of an item that is another's by now. A result of poison never gets through: it
//! brings its worker down, after its start was counted and before its end is known, every time.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// More than the longest name of an item.
const NAME_BYTES: usize = 256;

/// Items that are poison as long as they are in here.
#[derive(Debug, Clone)]
pub struct Poison(Arc<Mutex<BTreeSet<String>>>);

impl Poison {
    /// These items are poison.
    pub fn of(items: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(Mutex::new(items.into_iter().collect())))
    }

    /// What made the item fail is mended.
    pub fn mend(&self, item: &str) {
        self.0.lock().unwrap().remove(item);
    }

    fn has(&self, item: &str) -> bool {
        self.0.lock().unwrap().contains(item)
    }
}

/// Where taps lead, and what they look for.
#[derive(Debug, Clone)]
pub struct Source {
    /// The socket of Redis.
    pub redis: PathBuf,
    /// The job whose items are seen.
    pub job: String,
    /// What brings workers down.
    pub poison: Poison,
}

/// The socket where one worker finds Redis.
pub struct Tap {
    socket: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    source: Source,
    /// How long each result takes on its way, at least.
    pace: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    /// The next result is held back.
    Armed,
    /// The result of this item is held back.
    Holding(String),
    /// Nothing gets through any more: poison, or the end of the tap.
    Closed {
        struck: bool,
    },
}

impl Tap {
    /// Listens at `socket` for one worker.
    pub fn open(socket: PathBuf, source: Source, pace: Duration) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let (state, changed) = (Mutex::new(State::Open), Condvar::new());
        let shared = Arc::new(Shared { source, pace, state, changed });
        let accepts = shared.clone();
        let accepting = std::thread::spawn(move || {
            for worker in listener.incoming() {
                if *accepts.state() == (State::Closed { struck: false }) {
                    return;
                }
                accepts.connect(worker.unwrap());
            }
        });
        Self { socket, shared, accepting: Some(accepting) }
    }

    /// Where the worker finds Redis.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket.display())
    }

    /// Poison is to bring the worker down.
    pub fn is_struck(&self) -> bool {
        *self.shared.state() == State::Closed { struck: true }
    }

    /// Holds the next result back.
    pub fn arm(&self) {
        let mut state = self.shared.state();
        if *state == State::Open {
            *state = State::Armed;
        }
    }

    /// The item whose result is held back, once there is one.
    pub fn holding(&self) -> Option<String> {
        match &*self.shared.state() {
            State::Holding(item) => Some(item.clone()),
            _ => None,
        }
    }

    /// Lets through what is held back, and everything after it.
    pub fn release(&self) {
        let mut state = self.shared.state();
        if !matches!(*state, State::Closed { .. }) {
            *state = State::Open;
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        *self.shared.state() = State::Closed { struck: false };
        self.shared.changed.notify_all();
        // Wakes the thread that accepts; the others end with the worker's connections.
        let _ = UnixStream::connect(&self.socket);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Two threads a connection. A Redis that is away closes it, as Redis itself would.
    fn connect(self: &Arc<Self>, worker: UnixStream) {
        let Ok(redis) = UnixStream::connect(&self.source.redis) else { return };
        let (to_worker, from_redis) = (worker.try_clone().unwrap(), redis.try_clone().unwrap());
        std::thread::spawn(move || forward(from_redis, to_worker, |_| true));
        let shared = self.clone();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            forward(worker, redis, |bytes| {
                seen.extend_from_slice(bytes);
                shared.lets_through(next_item(&mut seen, &shared.source.job))
            });
        });
    }

    /// False once nothing more is to get through; returns when it is known.
    fn lets_through(&self, item: Option<String>) -> bool {
        if item.is_some() {
            std::thread::sleep(self.pace);
        }
        let mut state = self.state();
        match item {
            Some(item) if self.source.poison.has(&item) => *state = State::Closed { struck: true },
            Some(item) if *state == State::Armed => *state = State::Holding(item),
            _ => {}
        }
        let holds = |state: &mut State| matches!(state, State::Holding(_));
        let state = self.changed.wait_while(state, holds).unwrap();
        !matches!(*state, State::Closed { .. })
    }
}

/// The name of the job's item that a worker speaks of to Redis, which is to give its result. What was
/// looked at goes; a name may come in two reads.
fn next_item(seen: &mut Vec<u8>, job: &str) -> Option<String> {
    let prefix = format!("{job}/");
    let begin = seen.windows(prefix.len()).position(|w| w == prefix.as_bytes());
    let name = begin.and_then(|begin| {
        let length = seen[begin..].windows(2).position(|two| two == b"\r\n")?;
        Some(begin..begin + length)
    });
    let Some(name) = name else {
        seen.drain(..seen.len().saturating_sub(NAME_BYTES));
        return None;
    };
    let item = String::from_utf8_lossy(&seen[name]).into_owned();
    seen.clear();
    Some(item)
}

/// Copies until either side ends, or `passes` says no.
fn forward(mut from: UnixStream, mut to: UnixStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !passes(&buffer[..read]) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
