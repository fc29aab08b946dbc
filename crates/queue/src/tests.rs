//! The promises of the queue and the traps of Redis Streams, one test each.

mod agreement;
mod autoscaling;
mod chaos;
mod conformance;
mod model;
mod one_by_one;
mod redis_streams;
mod site;
