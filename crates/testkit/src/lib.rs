//! What tests of several crates share: a real Redis to kill and restart, and waiting for a condition
//! instead of sleeping. Never a normal dependency of anything.

mod eventually;
mod redis_server;

pub use eventually::eventually;
pub use redis_server::{RedisServer, free_port};
