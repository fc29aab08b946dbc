//! Where Redis is, and how it is recognised.

use crate::Error;
use redis::{Client, TlsCertificates};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Address of a Redis server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS, `redis+unix:///path`.
    pub url: String,
    /// PEM certificates that vouch for the server, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

impl Address {
    /// An address without certificates of its own.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_file: None }
    }

    pub(super) fn client(&self) -> Result<Client, Error> {
        let wrong = |error: &dyn fmt::Display| Error::Configuration(error.to_string());
        let url = self.url.as_str();
        if !url.starts_with("rediss:") && !url.starts_with("valkeys:") {
            return match &self.ca_file {
                None => Client::open(url).map_err(|e| wrong(&e)),
                Some(_) => Err(wrong(&"ca_file needs a rediss:// URL")),
            };
        }
        // Whoever linked another provider into the program may have chosen it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root_cert = match &self.ca_file {
            None => None,
            Some(path) => {
                Some(std::fs::read(path).map_err(|e| wrong(&format!("{}: {e}", path.display())))?)
            }
        };
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Client::build_with_tls(url, certificates).map_err(|e| wrong(&e))
    }
}

/// Without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // They stand before the host, or among the parameters of a Unix socket.
        let url = self.url.split('?').next().unwrap_or_default();
        match url.rsplit_once('@') {
            Some((_, place)) => write!(f, "***@{place}"),
            None => f.write_str(url),
        }
    }
}

/// Without user and password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.to_string();
        f.debug_struct("Address").field("url", &url).field("ca_file", &self.ca_file).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in ["rediss://worker:secret@queue:6379/0", "redis+unix:///queue?pass=secret"] {
            let address = Address::new(url);
            let shown = format!("{address:?} {address}");
            assert!(!shown.contains("secret") && shown.contains("queue"), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_an_error_at_once() {
        assert!(matches!(Address::new("http://queue").client(), Err(Error::Configuration(_))));
        let missing = Address { url: "rediss://queue".to_owned(), ca_file: Some("/none".into()) };
        assert!(missing.client().unwrap_err().to_string().contains("/none"));
        let plain = Address { url: "redis://queue".to_owned(), ca_file: Some("/none".into()) };
        assert!(plain.client().unwrap_err().to_string().contains("ca_file needs"));
    }
}
