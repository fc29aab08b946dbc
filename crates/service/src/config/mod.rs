//! One configuration out of layers: what all services have ([`DEFAULTS`]), the service's embedded,
//! commented `default.toml`, the file given with `--config`, and the environment, each overriding the
//! one before.
//!
//! An environment variable names a value by its path: `RLAIF__SERVER__ADDRESS=127.0.0.1:7000` sets
//! `server.address`. Its value is read as a number, a boolean, an array `[..]` or a table `{k = v}`
//! where it looks like one, and as a string otherwise; quotes force a string.

mod dump;
mod secret;
mod validate;

pub use dump::dump;
pub use secret::Secret;
pub use validate::{Problems, Validate};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// What a variable that sets a value begins with.
pub const ENV_PREFIX: &str = "RLAIF__";

/// The variable that sets what stands at `setting`: `RLAIF__SERVER__ADDRESS` for `server.address`.
pub fn variable(setting: &str) -> String {
    format!("{ENV_PREFIX}{}", setting.to_uppercase().replace('.', "__"))
}

/// The sections that all services have: `server`, `shutdown`, `metrics` and `telemetry`.
pub const DEFAULTS: &str = include_str!("../defaults.toml");

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}; check --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A layer is not TOML. The offending line is not shown: it may hold a secret.
    #[error("{layer}, line {line}: {message}")]
    Syntax {
        /// The file's path, or what else the text is.
        layer: String,
        /// Counted from one.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A value is missing, unknown, or of the wrong type.
    #[error("configuration: {}", .0.join("; "))]
    Values(Vec<String>),
    /// The values do not fit together or are out of range: all of them at once.
    #[error("configuration: {0}")]
    Invalid(Problems),
}

/// Reads and validates the configuration of a service from its layers of `defaults`, a `file` and
/// the environment.
///
/// # Errors
/// When a layer cannot be read, holds what the service does not know, or [`Validate`] finds problems.
pub fn load<T>(defaults: &[&str], file: Option<&Path>) -> Result<T, Error>
where
    T: DeserializeOwned + Validate,
{
    // A variable that is not UTF-8 cannot be a value of ours: every value is text.
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_with(defaults, file, env)
}

fn load_with<T>(
    defaults: &[&str],
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Error>
where
    T: DeserializeOwned + Validate,
{
    let mut layers = Figment::new();
    for text in defaults {
        layers = layers.merge(Layer::from_toml("built-in defaults", text)?);
    }
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        layers = layers.merge(Layer::from_toml(&path.display().to_string(), &text)?);
    }
    for (name, value) in env {
        if let Some(path) = name.strip_prefix(ENV_PREFIX) {
            layers = layers.merge(Layer::from_variable(&name, path, &value));
        }
    }
    let config: T =
        layers.extract().map_err(|e| Error::Values(e.into_iter().map(name_it).collect()))?;
    let problems = Problems::of(&config);
    if problems.is_empty() { Ok(config) } else { Err(Error::Invalid(problems)) }
}

/// A value's problem with its path and the layer it came from.
fn name_it(error: figment::Error) -> String {
    let mut text = error.kind.to_string();
    if !error.path.is_empty() {
        text = format!("{}: {text}", error.path.join("."));
    }
    if let Some(layer) = error.metadata {
        text = format!("{text} (from {})", layer.name);
    }
    text
}

/// One source of values, named for error messages.
struct Layer {
    name: String,
    values: Dict,
}

impl Layer {
    fn from_toml(name: &str, text: &str) -> Result<Self, Error> {
        let table: toml::Table = toml::from_str(text).map_err(|e| Error::Syntax {
            layer: name.to_owned(),
            line: 1 + e.span().map_or(0, |at| text[..at.start].matches('\n').count()),
            message: e.message().to_owned(),
        })?;
        let values = Value::serialize(table)
            .map_err(|e| Error::Values(vec![format!("{name}: {e}")]))?
            .into_dict()
            .unwrap_or_default();
        Ok(Self { name: name.to_owned(), values })
    }

    fn from_variable(name: &str, path: &str, value: &str) -> Self {
        let value = value.parse::<Value>().unwrap_or_else(|infallible| match infallible {});
        let path = path.to_ascii_lowercase().replace("__", ".");
        let values = figment::util::nest(&path, value).into_dict().unwrap_or_default();
        Self { name: name.to_owned(), values }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use std::time::Duration;

    const OURS: &str = r#"
# How long to wait.
timeout = "30s"

[labeler]
# Items in one batch.
batch = 8  # a power of two is fastest
model = "smollm2"
"#;

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(with = "humantime_serde")]
        timeout: Duration,
        labeler: Labeler,
    }

    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Labeler {
        batch: usize,
        model: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<Secret>,
    }

    impl Validate for Config {
        fn validate(&self, problems: &mut Problems) {
            problems.check(!self.timeout.is_zero(), "timeout", "must be longer than zero");
            problems.section("labeler", &self.labeler);
        }
    }

    impl Validate for Labeler {
        fn validate(&self, problems: &mut Problems) {
            problems.check(self.batch > 0, "batch", "must be at least 1");
            problems.check(!self.model.is_empty(), "model", "must name a model");
        }
    }

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_environment_overrides_the_file_and_the_file_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labeler.toml");
        std::fs::write(&file, "timeout = \"1m 5s\"\n[labeler]\nbatch = 16\n").unwrap();
        let env = vars(&[("RLAIF__LABELER__BATCH", "32"), ("RLAIF_OTHER", "x"), ("HOME", "/")]);
        let config: Config = load_with(&[OURS], Some(&file), env).unwrap();
        assert_eq!(config.timeout, Duration::from_secs(65));
        assert_eq!((config.labeler.batch, config.labeler.model.as_str()), (32, "smollm2"));
    }

    #[test]
    fn an_unknown_or_misfit_value_is_named_with_its_path_and_layer() {
        let unknown = load_with::<Config>(&[OURS], None, vars(&[("RLAIF__LABELER__BATHC", "1")]))
            .unwrap_err();
        let text = unknown.to_string();
        assert!(text.contains("bathc") && text.contains("RLAIF__LABELER__BATHC"), "{text}");
        let misfit = load_with::<Config>(&[OURS], None, vars(&[("RLAIF__LABELER__BATCH", "many")]))
            .unwrap_err();
        assert!(misfit.to_string().contains("labeler.batch"), "{misfit}");
    }

    #[test]
    fn all_problems_are_reported_at_once_with_field_paths() {
        let env = vars(&[
            ("RLAIF__TIMEOUT", "0s"),
            ("RLAIF__LABELER__BATCH", "0"),
            ("RLAIF__LABELER__MODEL", "\"\""),
        ]);
        let text = load_with::<Config>(&[OURS], None, env).unwrap_err().to_string();
        for path in ["timeout must", "labeler.batch must", "labeler.model must"] {
            assert!(text.contains(path), "{text}");
        }
    }

    #[test]
    fn a_syntax_error_names_the_line_and_shows_nothing_of_it() {
        let text = "timeout = \"1s\"\n[labeler]\ntoken = \"hunter2\" oops\n";
        let error = load_with::<Config>(&[text], None, []).unwrap_err().to_string();
        assert!(error.contains("line 3") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_dump_keeps_comments_hides_secrets_and_shows_what_was_overridden() {
        let env =
            vars(&[("RLAIF__LABELER__BATCH", "16"), ("RLAIF__LABELER__TOKEN", "hunter2-hunter2")]);
        let config: Config = load_with(&[OURS], None, env).unwrap();
        let text = dump(&[OURS], &config).unwrap();
        assert!(text.contains("# Items in one batch.\nbatch = 16  # a power of two"), "{text}");
        assert!(text.contains("timeout = \"30s\"") && text.contains("token = \"***\""), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        // Stars are not a secret: who starts a service from the dump must fill them in.
        let error = load_with::<Config>(&[&text], None, []).unwrap_err().to_string();
        assert!(error.contains("labeler.token"), "{error}");
    }

    /// A service's configuration as services compose it.
    #[derive(Debug, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Service {
        server: crate::server::Config,
        shutdown: crate::shutdown::Config,
        metrics: crate::metrics::Config,
        telemetry: crate::telemetry::Config,
        labeler: Labeler,
    }

    impl Validate for Service {
        fn validate(&self, problems: &mut Problems) {
            problems.section("server", &self.server);
            problems.section("shutdown", &self.shutdown);
            problems.section("metrics", &self.metrics);
            problems.section("telemetry", &self.telemetry);
            problems.section("labeler", &self.labeler);
        }
    }

    #[test]
    fn a_service_adds_to_what_all_have_and_changes_it() {
        let own = "[server]\n# Ours.\naddress = \"127.0.0.1:7002\"\n\n[labeler]\nbatch = 8\nmodel = \"m\"\n";
        let config: Service = load_with(&[DEFAULTS, own], None, []).unwrap();
        assert_eq!(config.server.address.port(), 7002);
        let text = dump(&[DEFAULTS, own], &config).unwrap();
        assert!(text.contains("# Ours.\naddress = \"127.0.0.1:7002\""), "{text}");
        assert!(text.contains("max_request_bytes = 16_777_216"), "{text}");
        assert!(text.contains("[labeler]\nbatch = 8"), "{text}");
        let again: Service = load_with(&[&text], None, []).unwrap();
        assert_eq!(format!("{again:?}"), format!("{config:?}"));
    }

    #[test]
    fn what_the_defaults_show_as_comments_is_valid_too() {
        let shown = DEFAULTS
            .replace("# tls =", "tls =")
            .replace("# probes =", "probes =")
            .replace("# [", "[")
            .replace("# role", "role")
            .replace(
                "# token = { file = \"/run/secrets/labeler-1\" }",
                "token = \"0123456789abcdef01234567\"",
            )
            .replace("# endpoint", "endpoint")
            .replace("# timeout", "timeout")
            .replace("# sample_ratio", "sample_ratio")
            .replace("# max_queued_spans", "max_queued_spans")
            .replace("# metrics_interval", "metrics_interval");
        let own = "[labeler]\nbatch = 8\nmodel = \"m\"\n";
        let config: Service = load_with(&[&shown, own], None, []).unwrap();
        assert!(config.server.tls.is_some() && config.server.probes.is_some());
        assert!(config.telemetry.otlp.is_some());
        assert_eq!(config.server.auth.tokens.len(), 1);
    }
}
