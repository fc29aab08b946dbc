//! What tests of several crates share: a real Redis to kill and restart, processes to freeze and kill,
//! a cluster of them, a collector of traces and metrics, an HTTP server that fails by script, a labeler with an
//! opinion on everything, a job on a tiny model, files of records, and waiting for a condition instead of
//! sleeping. Never a normal dependency of anything.

mod append_only_file;
mod cluster;
mod collector;
mod eventually;
mod jsonl;
mod oracle;
mod process;
mod redis_server;
mod scripted_http;
mod tiny_job;

pub use cluster::{Cluster, run_alone};
pub use collector::{Collector, Exported, Span, SpanKind};
pub use eventually::eventually;
pub use jsonl::write_jsonl;
pub use oracle::{Faults, Oracle};
pub use process::Process;
pub use redis_server::{RedisServer, free_port};
pub use scripted_http::{Act, HttpRequest, ScriptedHttp};
pub use tiny_job::{ANOTHER_TINY_MODEL, TINY_MODEL, TinyJob};
