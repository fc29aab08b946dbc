//! What every rlaif network service shares, so that a service crate is only its handlers and its
//! tasks: configuration, telemetry, a gRPC server, clients, a batcher in front of an engine, and an
//! orderly end.
//!
//! A service starts in five steps: [`config::load`], [`telemetry::init`], [`server::Server::bind`],
//! [`shutdown::Tasks::spawn`] for the server and what else runs, [`shutdown::Tasks::join`].

pub mod auth;
pub mod batcher;
pub mod client;
pub mod config;
pub mod metrics;
pub mod server;
pub mod shutdown;
mod status;
pub mod telemetry;
pub mod tls;

pub use status::overloaded;
