//! Certificates and keys, checked when they are read: a service with a wrong one does not start, and
//! says which file is wrong and why.

use crate::config::{Problems, Validate};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// How long a peer may take for a TLS handshake.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; give a PEM file that the service's user may read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds no certificate, or none in PEM.
    #[error("{path} holds no usable certificate: {reason}; give a PEM file, the chain leaf first")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file holds no private key, or one of a kind that is not supported.
    #[error(
        "{path} holds no usable private key: {reason}; give a PEM file with a PKCS #8, PKCS #1 or SEC1 key"
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error(
        "the key in {key} does not belong to the certificate in {certificate}: give the two that were issued together"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// TLS of a server.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// PEM file with the server's certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities of client certificates. When given, a client without a
    /// certificate of theirs cannot connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// TLS of a client.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// PEM file with the authorities that the server's certificate is checked against; for a server
    /// with a public certificate the system's bundle.
    pub ca: PathBuf,
    /// PEM file with the client's own certificate chain, for servers that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The name in the server's certificate where it differs from the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl Validate for ClientTls {
    fn validate(&self, problems: &mut Problems) {
        let together = self.certificate.is_some() == self.key.is_some();
        problems.check(together, "key", "and certificate are given together or not at all");
    }
}

impl ServerTls {
    /// Reads and checks the files, for a server of plain HTTP.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn http(&self) -> Result<Arc<ServerConfig>, Error> {
        use_ring();
        let (certificate, key) = (&self.certificate, &self.key);
        let (chain_pem, key_pem) = (read(certificate)?, read(key)?);
        identity_of(certificate, &chain_pem, key, &key_pem)?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|e| Error::Key { path: key.clone(), reason: e.to_string() })?;
        let config = ServerConfig::builder();
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let (_, roots) = authorities(path)?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                let unusable = |e: VerifierBuilderError| Error::Certificate {
                    path: path.clone(),
                    reason: e.to_string(),
                };
                config.with_client_cert_verifier(verifier.map_err(unusable)?)
            }
        };
        let mut config = config
            .with_single_cert(chain(certificate, &chain_pem)?, private)
            .map_err(|e| Error::Certificate { path: certificate.clone(), reason: e.to_string() })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads and checks the files.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn load(&self) -> Result<ServerTlsConfig, Error> {
        use_ring();
        let mut tls = ServerTlsConfig::new()
            .identity(identity(&self.certificate, &self.key)?)
            .timeout(HANDSHAKE_TIMEOUT);
        if let Some(path) = &self.client_ca {
            tls = tls.client_ca_root(authorities(path)?.0);
        }
        Ok(tls)
    }
}

impl ClientTls {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) fn load(&self) -> Result<ClientTlsConfig, Error> {
        use_ring();
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(authorities(&self.ca)?.0)
            .timeout(HANDSHAKE_TIMEOUT);
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            tls = tls.identity(identity(certificate, key)?);
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        Ok(tls)
    }
}

/// rustls asks for one provider per process, and panics later where two are compiled in and none was
/// chosen.
fn use_ring() {
    // An error means that somebody chose before us, which is as good.
    let _ = ring::default_provider().install_default();
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, Error> {
    let (chain_pem, key_pem) = (read(certificate)?, read(key)?);
    identity_of(certificate, &chain_pem, key, &key_pem)
}

/// A chain and its key, which belong together.
fn identity_of(
    certificate: &Path,
    chain_pem: &[u8],
    key: &Path,
    key_pem: &[u8],
) -> Result<Identity, Error> {
    let chain = chain(certificate, chain_pem)?;
    let private = PrivateKeyDer::from_pem_slice(key_pem)
        .map_err(|e| Error::Key { path: key.to_owned(), reason: e.to_string() })?;
    let signer = ring::default_provider()
        .key_provider
        .load_private_key(private)
        .map_err(|e| Error::Key { path: key.to_owned(), reason: e.to_string() })?;
    match CertifiedKey::new(chain, signer).keys_match() {
        Ok(()) => Ok(Identity::from_pem(chain_pem, key_pem)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Error::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() })
        }
        Err(e) => Err(Error::Certificate { path: certificate.to_owned(), reason: e.to_string() }),
    }
}

/// Authorities as tonic and as rustls take them.
fn authorities(path: &Path) -> Result<(Certificate, RootCertStore), Error> {
    let pem = read(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in chain(path, &pem)? {
        roots
            .add(certificate)
            .map_err(|e| Error::Certificate { path: path.to_owned(), reason: e.to_string() })?;
    }
    Ok((Certificate::from_pem(pem), roots))
}

fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let malformed = |reason: String| Error::Certificate { path: path.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| malformed(e.to_string()))?;
    if chain.is_empty() {
        return Err(malformed("there is no CERTIFICATE section".to_owned()));
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;

    /// A folder with `a.crt`, `a.key` and an unrelated `b.key`.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let a = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let b = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("a.crt"), a.cert.pem()).unwrap();
        std::fs::write(folder.path().join("a.key"), a.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("b.key"), b.signing_key.serialize_pem()).unwrap();
        folder
    }

    fn load(folder: &Path, certificate: &str, key: &str, client_ca: Option<&str>) -> String {
        let tls = ServerTls {
            certificate: folder.join(certificate),
            key: folder.join(key),
            client_ca: client_ca.map(|name| folder.join(name)),
        };
        tls.load().map_or_else(|e| e.to_string(), |_| "loaded".to_owned())
    }

    #[test]
    fn a_missing_malformed_or_mismatched_file_is_named() {
        let folder = folder();
        let path = folder.path();
        assert_eq!(load(path, "a.crt", "a.key", Some("a.crt")), "loaded");
        for (certificate, key, client_ca, says) in [
            ("no.crt", "a.key", None, "user may read"),
            ("a.key", "a.key", None, "no usable certificate"),
            ("a.crt", "a.crt", None, "no usable private key"),
            ("a.crt", "b.key", None, "issued together"),
            ("a.crt", "a.key", Some("b.key"), "no usable certificate"),
        ] {
            let error = load(path, certificate, key, client_ca);
            assert!(error.contains(says), "{error}");
        }
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(path.join("broken.crt"), broken).unwrap();
        assert!(load(path, "broken.crt", "a.key", None).contains("broken.crt"));
        assert!(load(path, "a.crt", "a.key", Some("broken.crt")).contains("broken.crt"));
    }
}
