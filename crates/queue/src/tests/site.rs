//! Where the processes of a test meet, and the processes: runtimes that can be frozen and killed.

use crate::redis_streams::Address;
use crate::{Consumer, Delivery, Item, Lease, Options, Outcome, Position, Queue, ResultEntry};
use rlaif_testkit::RedisServer;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longer than anything correct takes; only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A lease long enough for a busy machine and short enough to wait for.
pub fn quick() -> Options {
    let lease = Duration::from_millis(1500);
    Options { lease, retry_delay: Duration::from_millis(50), ..Options::default() }
}

/// Leases that cannot expire during a test: what is handed over was given up on purpose.
pub fn unhurried() -> Options {
    Options { lease: Duration::from_secs(3600), retry_delay: Duration::ZERO, ..Options::default() }
}

/// For tests that kill Redis and then insist on what was answered. Under the default, `everysec`, it
/// answers for up to two seconds before it writes while the disk is slow to sync.
pub const ALWAYS_FSYNC: [&str; 2] = ["--appendfsync", "always"];

pub enum Site {
    InMemory(Queue),
    Redis { server: RedisServer, options: Options },
}

impl Site {
    pub fn in_memory(options: Options) -> Self {
        Self::InMemory(Queue::in_memory(options).unwrap())
    }

    pub fn redis(options: Options) -> Self {
        Self::Redis { server: RedisServer::start(), options }
    }

    pub fn durable_redis(options: Options) -> Self {
        Self::Redis { server: RedisServer::start_with(&ALWAYS_FSYNC), options }
    }

    /// A process that lives all the time.
    pub fn process(&self) -> Process {
        self.on(Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
    }

    /// A process that is frozen, as by SIGSTOP, except during [`Process::run`]. Dropping it then
    /// is SIGKILL: nothing of it gets to run.
    pub fn frozen_process(&self) -> Process {
        self.on(frozen_runtime())
    }

    fn on(&self, runtime: Runtime) -> Process {
        match self {
            Self::InMemory(queue) => Process { runtime, queue: queue.clone() },
            Self::Redis { server, options } => {
                Process::connect(runtime, &Address::new(server.url()), options)
            }
        }
    }
}

/// Of a process that is frozen except during [`Process::run`].
pub fn frozen_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub struct Process {
    runtime: Runtime,
    pub queue: Queue,
}

impl Process {
    pub fn connect(runtime: Runtime, address: &Address, options: &Options) -> Self {
        Self::at_queue("test", runtime, address, options)
    }

    pub fn at_queue(name: &str, runtime: Runtime, address: &Address, options: &Options) -> Self {
        let queue = runtime.block_on(Queue::redis(name, address, options.clone())).unwrap();
        Self { runtime, queue }
    }

    pub fn run<F: Future>(&self, story: impl FnOnce(Queue) -> F) -> F::Output {
        self.runtime.block_on(story(self.queue.clone()))
    }

    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(task)
    }

    pub fn enqueue(&self, ids: &[&str]) {
        let items = ids.iter().map(|id| Item::new(*id, *b"work")).collect();
        self.run(|queue| async move { queue.enqueue(items).await }).unwrap();
    }

    pub fn consumer(&self, worker: &str) -> Consumer {
        let _guard = self.runtime.enter();
        self.queue.consumer(worker)
    }

    /// The next delivery, which must come.
    pub fn next(&self, consumer: &mut Consumer) -> Delivery {
        let mut batch = self.runtime.block_on(consumer.lease(1, PATIENCE)).unwrap();
        batch.pop().expect("a delivery comes")
    }

    pub fn start_next(&self, consumer: &mut Consumer) -> Lease {
        let delivery = self.next(consumer);
        self.run(|_| delivery.start()).unwrap().expect("it may start")
    }

    /// All results there are.
    pub fn results(&self) -> Vec<ResultEntry> {
        self.run(|queue| async move {
            queue.results(Position::START, 1000, Duration::ZERO).await.unwrap()
        })
    }

    /// Results of items that were done: id, payload, attempts.
    pub fn done(&self) -> Vec<(String, String, u32)> {
        let done = self.results().into_iter().filter_map(|entry| match entry.outcome {
            Outcome::Done { payload, attempts } => {
                Some((entry.item.to_string(), String::from_utf8(payload).unwrap(), attempts))
            }
            Outcome::Dead(_) | Outcome::Progress(_) => None,
        });
        done.collect()
    }

    pub fn outstanding(&self) -> u64 {
        self.run(|queue| async move { queue.outstanding().await }).unwrap()
    }
}
