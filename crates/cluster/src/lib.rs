//! Where the services of a cluster meet: how each of them is told of the queues and of the artifact
//! store. The coordinator and the workers have these sections alike.

use rlaif_queue::{Address, Options};
use rlaif_service::config::{Problems, Secret, Validate};
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;
use std::time::Duration;

/// Commented defaults of the sections `queue` and `artifacts`, a layer over
/// [`rlaif_service::config::DEFAULTS`].
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// How long Redis may take to say that there is nothing.
const LONGEST_READ: Duration = Duration::from_secs(2);

/// The Redis that holds the queues, and their limits.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS, `redis+unix:///path`; a
    /// secret, for it may hold a password.
    #[serde(serialize_with = "unless_it_holds_a_password")]
    pub url: Secret,
    /// PEM certificates that vouch for the server, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Limits of each queue, and patience.
    pub options: Options,
}

/// An address alone is no secret: a dumped configuration is to be used as it is where it can be.
fn unless_it_holds_a_password<S: Serializer>(
    url: &Secret,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match url.is_inline() && !url.expose().contains(['@', '?']) {
        true => url.expose().serialize(serializer),
        false => url.serialize(serializer),
    }
}

impl QueueConfig {
    /// Where Redis is.
    pub fn address(&self) -> Address {
        Address { url: self.url.expose().clone(), ca_file: self.ca_file.clone() }
    }
}

impl Validate for QueueConfig {
    fn validate(&self, problems: &mut Problems) {
        let patient = self.options.patience > LONGEST_READ;
        let what = "must be longer than 2s: Redis may take that long to say that there is nothing";
        problems.check(patient, "options.patience", what);
        if let Err(error) = self.options.validate() {
            problems.add("options", format!("are wrong: {error}"));
        }
    }
}

/// The artifact store.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsConfig {
    /// A path, `file://`, `s3://bucket/prefix` or `gs://bucket/prefix`.
    pub url: String,
    /// Where folders of a bucket are downloaded to.
    pub cache: PathBuf,
}

impl Validate for ArtifactsConfig {
    fn validate(&self, problems: &mut Problems) {
        problems.check(!self.url.is_empty(), "url", "must be a path or an address");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_hidden_where_it_holds_a_password() {
        let shown = |url: &str| {
            let config = format!("url = \"{url}\"\noptions = {{}}");
            let config: QueueConfig = toml::from_str(&config).unwrap();
            toml::to_string(&config).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(shown("redis://queue:6379/0"), "url = \"redis://queue:6379/0\"");
        for secret in ["redis://worker:hunter2@queue:6379", "redis+unix:///queue?pass=hunter2"] {
            assert_eq!(shown(secret), "url = \"***\"");
        }
    }

    #[test]
    fn every_wrong_value_is_named() {
        let queue: QueueConfig = toml::from_str(
            "url = \"redis://127.0.0.1\"\noptions = { patience = \"1s\", retry_delay = \"1h\" }",
        )
        .unwrap();
        let said = Problems::of(&queue).to_string();
        assert!(said.contains("options.patience") && said.contains("retry_delay"), "{said}");
        let nowhere: ArtifactsConfig = toml::from_str("url = \"\"\ncache = \"c\"").unwrap();
        assert!(Problems::of(&nowhere).to_string().contains("url"));
    }
}
