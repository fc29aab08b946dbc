//! What every rlaif network service shares, so that a service crate is only its handlers and its
//! tasks: configuration, telemetry, a gRPC server, clients, a batcher in front of an engine, and an
//! orderly end.
//!
//! A service's `main` is five steps:
//!
//! ```no_run
//! # use rlaif_service::{auth::Rule, config, metrics, server, shutdown, telemetry};
//! # use std::time::Duration;
//! # use tokio_util::sync::CancellationToken;
//! # #[derive(serde::Deserialize)]
//! # struct Config {
//! #     server: server::Config,
//! #     shutdown: shutdown::Config,
//! #     metrics: metrics::Config,
//! #     telemetry: telemetry::Config,
//! # }
//! # impl config::Validate for Config {
//! #     fn validate(&self, _: &mut config::Problems) {}
//! # }
//! # const DESCRIPTOR: &[u8] = &[];
//! # const RULES: &[Rule] = &[];
//! # async fn run(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
//! # let file = None;
//! # let ours = "";
//! let config: Config = config::load(&[config::DEFAULTS, ours], file)?;
//! let who = telemetry::Identity { service: "rlaif-labeler", version: "0.1.0", instance: "a".into() };
//! let telemetry = telemetry::init(&config.telemetry, &who)?;
//!
//! let server = server::Server::bind(config.server).await?;
//! let health = server.health();
//! let scraped =
//!     metrics::Endpoint::bind(&config.metrics, telemetry.registry(), health.clone()).await?;
//!
//! let mut tasks = shutdown::Tasks::new(shutdown::on_signals()?, config.shutdown.grace);
//! let api = server::Api { routes, descriptor: DESCRIPTOR, rules: RULES };
//! let (shutdown, drained) = (tasks.shutdown(), CancellationToken::new());
//! // The metrics endpoint ends after the server, so that the drain can be watched.
//! tasks.spawn("metrics", scraped.serve(drained.clone()));
//! tasks.spawn("server", async move {
//!     let _drained = drained.drop_guard();
//!     server.serve(api, shutdown).await
//! });
//! health.set_started().await;
//!
//! let ended = tasks.join().await;
//! telemetry.shutdown(Duration::from_secs(5)).await;
//! # Ok(ended?)
//! # }
//! ```

pub mod auth;
pub mod batcher;
pub mod client;
pub mod config;
pub mod http;
pub mod metrics;
pub mod server;
pub mod shutdown;
mod status;
pub mod telemetry;
pub mod tls;

pub use status::overloaded;
