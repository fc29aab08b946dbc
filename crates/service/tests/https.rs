//! The HTTP server with TLS, as browsers meet it.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rlaif_service::http::{Config, HttpServer};
use rlaif_service::tls::ServerTls;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

/// Answers every request with "seen"; `client_ca` asks for certificates of clients.
async fn serve(folder: &TempDir, client_ca: bool) -> (SocketAddr, RootCertStore) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &ca).unwrap();
    let write = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let authority = write("ca.crt", &ca.pem());
    let tls = ServerTls {
        certificate: write("server.crt", &certificate.pem()),
        key: write("server.key", &key.serialize_pem()),
        client_ca: client_ca.then_some(authority),
    };
    let config = Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allow_remote: false,
        max_connections: 8,
        max_request_bytes: 1000,
    };
    let server = HttpServer::bind("test.address", &config).await.unwrap().with_tls(&tls).unwrap();
    let address = server.address();
    let seen = |_| ready(http::Response::new("seen".to_owned()));
    tokio::spawn(server.serve(seen, CancellationToken::new()));
    let mut roots = RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap())
        .unwrap();
    (address, roots)
}

async fn get(address: SocketAddr, roots: RootCertStore) -> std::io::Result<String> {
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_browser_is_answered_also_while_others_hold_their_handshakes_up() {
    let folder = tempfile::tempdir().unwrap();
    let (address, roots) = serve(&folder, false).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(get(address, roots).await.unwrap().ends_with("seen"));
    assert!(get(address, RootCertStore::empty()).await.is_err(), "nobody vouches for it");

    // Who speaks in the clear is told nothing.
    let mut clear = TcpStream::connect(address).await.unwrap();
    clear.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = clear.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("seen"));
}

#[tokio::test]
async fn where_clients_need_a_certificate_one_without_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (address, roots) = serve(&folder, true).await;
    assert!(get(address, roots).await.is_err());
}
