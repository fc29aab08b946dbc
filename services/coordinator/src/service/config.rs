//! What a coordinator is told.

use crate::page::PageConfig;
use rlaif_cluster::{ArtifactsConfig, QueueConfig};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::{metrics, server, shutdown, telemetry};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Layers of the coordinator's commented defaults.
const DEFAULTS: [&str; 3] =
    [rlaif_service::config::DEFAULTS, rlaif_cluster::DEFAULTS, include_str!("default.toml")];

/// A coordinator's configuration.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    pub server: server::Config,
    /// How it ends.
    pub shutdown: shutdown::Config,
    /// Where it is measured.
    pub metrics: metrics::Config,
    /// Logs and traces.
    pub telemetry: telemetry::Config,
    /// The queues between it and the workers.
    pub queue: QueueConfig,
    /// Where artifacts are.
    pub artifacts: ArtifactsConfig,
    /// The live page.
    pub page: PageConfig,
    /// The coordinator itself.
    pub coordinator: CoordinatorConfig,
}

/// The coordinator itself.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CoordinatorConfig {
    /// Journal and run folders.
    pub data_dir: PathBuf,
    /// Jobs worked on at once.
    pub max_running_jobs: usize,
}

impl Config {
    /// Reads the configuration from the defaults, `file` and the environment.
    ///
    /// # Errors
    /// When it cannot be read, or says something senseless.
    pub fn load(file: Option<&Path>) -> Result<Self, rlaif_service::config::Error> {
        rlaif_service::config::load(&DEFAULTS, file)
    }

    /// The configuration as commented TOML, without its secrets.
    ///
    /// # Panics
    /// Never: the defaults are TOML, and every configuration can be written as such.
    pub fn dump(&self) -> String {
        rlaif_service::config::dump(&DEFAULTS, self)
            .expect("a configuration has string keys and plain values")
    }
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems) {
        problems.section("server", &self.server);
        self.shutdown.validate_beside(&self.server, Duration::ZERO, problems);
        problems.section("metrics", &self.metrics);
        problems.section("telemetry", &self.telemetry);
        problems.section("queue", &self.queue);
        problems.section("artifacts", &self.artifacts);
        self.page.validate_beside(&self.server, problems);
        problems.section("coordinator", &self.coordinator);
    }
}

impl Validate for CoordinatorConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.check(self.max_running_jobs > 0, "max_running_jobs", "must be at least 1");
        let named = !self.data_dir.as_os_str().is_empty();
        problems.check(named, "data_dir", "must name a folder");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_queue::Options;

    #[test]
    fn a_drain_that_outlasts_the_shutdown_is_refused_by_name() {
        let mut config = Config::load(None).unwrap();
        config.server.drain_delay = Duration::from_secs(15);
        config.server.drain_timeout = config.shutdown.grace - config.server.drain_delay;
        let problems = Problems::of(&config).to_string();
        assert!(problems.contains("shutdown.grace must be longer than 30s"), "{problems}");
        config.shutdown.grace += Duration::from_millis(1);
        assert!(Problems::of(&config).is_empty());
        config.server.drain_timeout = Duration::MAX;
        assert!(!Problems::of(&config).is_empty());
    }

    #[test]
    fn the_defaults_hold_and_a_dump_of_them_reads_back() {
        let config = Config::load(None).unwrap();
        let dumped = config.dump();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dumped.toml");
        std::fs::write(&file, &dumped).unwrap();
        assert_eq!(format!("{:?}", Config::load(Some(&file)).unwrap()), format!("{config:?}"));
        let patience = config.queue.options.patience;
        let options = Options { patience, ..Options::default() };
        assert_eq!(config.queue.options, options);
    }
}
