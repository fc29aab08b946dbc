//! The work queue between the coordinator and its workers: exactly one result per accepted item,
//! whatever is killed, paused or cut off; an item may be *computed* more than once.
//!
//! A producer [enqueues](Queue::enqueue) items under ids of its choosing. Workers
//! [lease](Consumer::lease) deliveries, [start](Delivery::start) them, which takes a fencing token,
//! and settle the [`Lease`] once. The one consumer of results reads them at least once, makes them
//! durable, and then [acknowledges](Queue::acknowledge). The queue knows nothing of what payloads mean.
//!
//! ```
//! # use rlaif_queue::{Item, Options, Outcome, Position, Queue};
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), rlaif_queue::Error> {
//! let queue = Queue::in_memory(Options::default())?;
//! queue.enqueue(vec![Item::new("job/label/17", *b"question")]).await?;
//!
//! let mut consumer = queue.consumer("labeler-0");
//! for delivery in consumer.lease(8, Duration::from_secs(1)).await? {
//!     let Some(lease) = delivery.start().await? else { continue };
//!     lease.commit(b"answer".to_vec()).await?;
//! }
//!
//! for result in queue.results(Position::START, 100, Duration::ZERO).await? {
//!     assert_eq!(result.outcome, Outcome::Done { payload: b"answer".to_vec(), attempts: 1 });
//!     queue.acknowledge(result.position).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod consumer;
mod delivery;
mod error;
mod hands;
mod in_memory;
mod item;
mod one_by_one;
mod options;
mod queue;
mod redis_streams;
mod store;
#[cfg(test)]
mod tests;
mod worker;

pub use consumer::Consumer;
pub use delivery::{Delivery, Lease, Settlement};
pub use error::{Denial, Error};
pub use item::{
    Attempt, DeadLetter, Death, Depth, Enqueued, Headers, Item, ItemId, Outcome, Position,
    ResultEntry,
};
pub use one_by_one::OneByOne;
pub use options::Options;
pub use queue::Queue;
pub use redis_streams::{Address, Checkup, Warning, acl_rules, checkup};
pub use worker::{Held, Worker};
