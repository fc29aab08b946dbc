//! How a worker is configured: where its work and its artifacts are, what it may hold, and what it
//! shares with every service. What direct callers are served is each worker's own section.

use crate::host::ENGINE_GRACE;
use crate::memory::Limit;
use crate::{ResourceOptions, Service};
use rlaif_clerk::{Account, Clerk, Reuse};
use rlaif_cluster::{ArtifactsConfig, QueueConfig};
use rlaif_models::{DeviceName, EngineOptions};
use rlaif_service::config::{Problems, Validate};
use rlaif_service::{metrics, server, shutdown, telemetry};
use rlaif_types::{Ceiling, Money, Precision, amount};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Commented defaults of the section `worker`.
const DEFAULTS: &str = include_str!("defaults.toml");

/// Layers of a worker's commented defaults, for [`rlaif_service::config::load`].
pub fn defaults<S: Service>() -> [&'static str; 4] {
    [rlaif_service::config::DEFAULTS, rlaif_cluster::DEFAULTS, DEFAULTS, S::DEFAULTS]
}

/// A worker's configuration, `D` being its section for direct callers.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config<D> {
    /// Where work comes from.
    pub queue: QueueConfig,
    /// Where artifacts are.
    pub artifacts: ArtifactsConfig,
    /// Who works, on what, and within which bounds.
    pub worker: WorkerConfig,
    /// What direct callers are served.
    pub direct: D,
    /// Where direct callers are served.
    pub server: server::Config,
    /// How it ends.
    pub shutdown: shutdown::Config,
    /// Where its metrics are shown.
    pub metrics: metrics::Config,
    /// Logs, traces and metrics.
    pub telemetry: telemetry::Config,
}

impl<D: Validate> Validate for Config<D> {
    fn validate(&self, problems: &mut Problems) {
        problems.section("queue", &self.queue);
        problems.section("artifacts", &self.artifacts);
        problems.section("worker", &self.worker);
        problems.section("direct", &self.direct);
        problems.section("server", &self.server);
        self.shutdown.validate_beside(&self.server, ENGINE_GRACE, problems);
        problems.section("metrics", &self.metrics);
        problems.section("telemetry", &self.telemetry);
    }
}

/// Who works, on what, and within which bounds.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// What results and attempts are recorded under; the machine's name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// What models compute in: `f32`, or on a GPU `bf16`. Weights that learn are f32 either way.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
    /// Further devices that share the micro-batches of training. Only learners and trainers of reward models use
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training_replicas: Vec<String>,
    /// Memory of the device that training may take, such as `12GB`, or `any`; what the machine, its container or the GPU
    /// has in all where absent. What takes more is left to another worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<String>,
    /// Models kept in memory, of each kind.
    pub max_models: usize,
    /// Engines kept running.
    pub max_engines: usize,
    /// Bounds of each engine.
    pub engine: EngineConfig,
    /// What is kept of labels, and what they may cost.
    #[serde(default)]
    pub ledger: LedgerConfig,
}

/// What is kept of labels, and what they may cost. Only labelers use it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerConfig {
    /// A file that keeps every label with its provenance and cost, for one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A table of prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<PathBuf>,
    /// Money that may be spent, as counted by the ledger.
    #[serde(skip_serializing_if = "Option::is_none", with = "amount")]
    pub max_cost: Option<Money>,
    /// Tokens that may be read and written, as counted by the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
}

impl LedgerConfig {
    /// A clerk that keeps this ledger for `worker`.
    ///
    /// # Errors
    /// When the ledger or the prices cannot be read.
    pub(crate) fn clerk(&self, worker: String) -> Result<Clerk, String> {
        let open = || {
            let prices = self.prices.as_deref().map(Account::read_prices).transpose()?;
            Clerk::new(Account {
                ledger: self.path.clone(),
                prices: prices.unwrap_or_default(),
                ceiling: Ceiling { max_cost: self.max_cost, max_tokens: self.max_tokens },
                reuse: Reuse::Endpoints,
                worker: Some(worker),
            })
        };
        open().map_err(|error: rlaif_clerk::Error| format!("worker.ledger: {error}"))
    }
}

impl Validate for LedgerConfig {
    fn validate(&self, problems: &mut Problems) {
        let priced = self.max_cost.is_none() || self.prices.is_some();
        problems.check(priced, "max_cost", "needs worker.ledger.prices");
        let kept = (self.max_cost.is_none() && self.max_tokens.is_none()) || self.path.is_some();
        problems.check(
            kept,
            "path",
            "must be given where there is a ceiling, to count what was spent",
        );
    }
}

/// Bounds of an engine.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Tokens of one pass.
    pub max_batch_tokens: usize,
    /// Sequences generated together.
    pub max_sequences: usize,
    /// Tokens whose keys and values are kept while generating.
    pub max_kv_tokens: usize,
}

impl WorkerConfig {
    /// The configured name, or the machine's.
    pub fn name(&self) -> String {
        let machine = || std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        self.name.clone().or_else(machine).unwrap_or_else(|| "worker".to_owned())
    }

    pub(crate) fn resources(&self) -> Result<ResourceOptions, String> {
        let EngineConfig { max_batch_tokens, max_sequences, max_kv_tokens } = self.engine;
        let replicas = self.training_replicas.iter().map(|name| name.parse());
        Ok(ResourceOptions {
            device: self.device.parse()?,
            precision: self.precision,
            training_replicas: replicas.collect::<Result<_, _>>()?,
            max_models: self.max_models,
            max_engines: self.max_engines,
            engine: EngineOptions { max_batch_tokens, max_sequences, max_kv_tokens },
            max_memory: self.max_memory.as_deref().map(str::parse).transpose()?,
        })
    }
}

impl Validate for WorkerConfig {
    fn validate(&self, problems: &mut Problems) {
        match self.device.parse::<DeviceName>() {
            Err(what) => problems.add("device", format!("is wrong: {what}")),
            Ok(device) => {
                if let Err(what) = device.computing_in(self.precision) {
                    problems.add("precision", what.to_string());
                }
            }
        }
        for name in &self.training_replicas {
            if let Err(what) = name.parse::<DeviceName>() {
                problems.add("training_replicas", format!("is wrong: {what}"));
            }
        }
        if let Some(Err(what)) = self.max_memory.as_deref().map(str::parse::<Limit>) {
            problems.add("max_memory", format!("is wrong: {what}"));
        }
        let named = self.name.as_ref().is_none_or(|name| !name.is_empty());
        problems.check(named, "name", "must not be empty; leave it out for the machine's name");
        for (field, bound) in [
            ("max_models", self.max_models),
            ("max_engines", self.max_engines),
            ("engine.max_batch_tokens", self.engine.max_batch_tokens),
            ("engine.max_sequences", self.engine.max_sequences),
            ("engine.max_kv_tokens", self.engine.max_kv_tokens),
        ] {
            problems.check(bound > 0, field, "must be at least 1");
        }
        problems.section("ledger", &self.ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlaif_queue::Options;
    use rlaif_service::config;
    use std::time::Duration;

    const LAYERS: [&str; 2] = [rlaif_cluster::DEFAULTS, DEFAULTS];

    #[derive(Debug, Deserialize, Serialize)]
    struct Section {
        queue: QueueConfig,
        artifacts: ArtifactsConfig,
        worker: WorkerConfig,
    }

    impl Validate for Section {
        fn validate(&self, problems: &mut Problems) {
            problems.section("queue", &self.queue);
            problems.section("worker", &self.worker);
        }
    }

    #[test]
    fn the_file_of_defaults_says_what_the_types_default_to() {
        let section: Section = config::load(&LAYERS, None).unwrap();
        assert_eq!(section.queue.options, Options::default());
        let expected = ResourceOptions::on(DeviceName::Cpu);
        assert_eq!(section.worker.resources().unwrap(), expected);
    }

    #[derive(Debug, Deserialize, Serialize)]
    struct NoDirectCallers {}

    impl Validate for NoDirectCallers {
        fn validate(&self, _: &mut Problems) {}
    }

    #[test]
    fn a_shutdown_that_leaves_engines_no_time_after_the_drain_is_refused_by_name() {
        let layers = [config::DEFAULTS, rlaif_cluster::DEFAULTS, DEFAULTS, "[direct]"];
        let mut config: Config<NoDirectCallers> = config::load(&layers, None).unwrap();
        config.shutdown.grace =
            config.server.drain_delay + config.server.drain_timeout + ENGINE_GRACE;
        let problems = Problems::of(&config).to_string();
        assert!(problems.contains("shutdown.grace must be longer than 21s"), "{problems}");
        config.shutdown.grace += Duration::from_millis(1);
        assert!(Problems::of(&config).is_empty());
    }

    #[test]
    fn a_password_in_the_queues_address_is_never_shown() {
        let url = "[queue]\nurl = \"redis://:hunter2@queue:6379\"\n";
        let section: Section = config::load(&[LAYERS[0], LAYERS[1], url], None).unwrap();
        let shown = [format!("{section:?}"), config::dump(&LAYERS, &section).unwrap()];
        assert!(shown.iter().all(|text| !text.contains("hunter2")), "{shown:?}");
        assert!(section.queue.address().url.contains("hunter2"));
    }

    #[test]
    fn bf16_is_for_gpus() {
        let on = |device: &str| {
            let asked = format!("[worker]\ndevice = \"{device}\"\nprecision = \"bf16\"\n");
            config::load::<Section>(&[LAYERS[0], LAYERS[1], &asked], None)
        };
        assert_eq!(on("cuda:0").unwrap().worker.resources().unwrap().precision, Precision::Bf16);
        let error = on("cpu").unwrap_err().to_string();
        assert!(error.contains("worker.precision") && error.contains("needs a GPU"), "{error}");
    }

    #[test]
    fn every_wrong_value_is_named() {
        let wrong = "[queue.options]\nretry_delay = \"1h\"\n[worker]\ndevice = \"tpu\"\nmax_models = 0\n\
             max_memory = \"lots\"\ntraining_replicas = [\"cuda:x\"]\n";
        let layers = [LAYERS[0], LAYERS[1], wrong];
        let error = config::load::<Section>(&layers, None).unwrap_err().to_string();
        for field in [
            "retry_delay",
            "worker.device",
            "worker.max_models",
            "worker.max_memory",
            "worker.training_replicas",
        ] {
            assert!(error.contains(field), "{error}");
        }
    }
}
