//! What tests of several crates share: a real Redis to kill and restart, a collector of traces and
//! metrics, and waiting for a condition instead of sleeping. Never a normal dependency of anything.

mod collector;
mod eventually;
mod redis_server;

pub use collector::{Collector, Exported, Span, SpanKind};
pub use eventually::eventually;
pub use redis_server::{RedisServer, free_port};
