//! TLS: whom the client trusts, and what it says of whom it does not.

use crate::{ANSWER, endpoint, failed, prompt};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rlaif_openai::{Client, Endpoint, Error, Failure, Phase};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn identity() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

/// Listens on loopback and leaves each connection to `serve`; gives its address.
fn listening(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        // A client that hangs up is no concern of ours.
        listener.incoming().for_each(|stream| drop(serve(stream.unwrap())));
    });
    address
}

/// A server that shows this certificate and answers every request.
fn serving(identity: &CertifiedKey<KeyPair>) -> String {
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    listening(move |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = Vec::new();
        // The JSON is the last of it.
        while !request.ends_with(b"}") {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk)?;
            request.extend_from_slice(&chunk[..read]);
        }
        let length = ANSWER.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{ANSWER}")?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

/// A client that trusts this authority alone.
fn trusting(authority: &CertifiedKey<KeyPair>, endpoint: Endpoint) -> Client {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.cert.pem()).unwrap();
    Client::new(Endpoint { ca: Some(ca), ..endpoint }).unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_for_the_authority_that_was_given() {
    let ours = identity();
    let address = serving(&ours);
    let told = trusting(&ours, endpoint(&address)).next_token(&prompt()).await.unwrap();
    assert_eq!(told.candidates[0].0, "1");

    let stranger = trusting(&identity(), endpoint(&address));
    let error = stranger.next_token(&prompt()).await.unwrap_err();
    assert!(error.to_string().contains("ca") && !error.is_transient(), "{error}");
    let (attempts, failure, _) = failed(error);
    assert!(matches!(failure, Failure::Tls(_)), "{failure}");
    assert_eq!(attempts, 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_from_one_that_is_silent() {
    let plain = listening(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let error = trusting(&identity(), endpoint(&plain)).next_token(&prompt()).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(matches!(failed(error).1, Failure::Tls(_)));

    let silent = listening(|mut stream| stream.read_to_end(&mut Vec::new()).map(drop));
    let hasty = Endpoint { connect_timeout: Duration::from_millis(100), ..endpoint(&silent) };
    let error = trusting(&identity(), hasty).next_token(&prompt()).await.unwrap_err();
    assert!(error.is_transient());
    let (attempts, failure, _) = failed(error);
    assert_eq!((attempts, failure), (3, Failure::TimedOut(Phase::Connecting)));
}

#[tokio::test]
async fn an_unusable_file_of_authorities_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| -> Error {
        let ca = Some(path.to_owned());
        Client::new(Endpoint { ca, ..endpoint("https://127.0.0.1:1") }).unwrap_err()
    };
    let gone = folder.path().join("gone.pem");
    assert!(error(&gone).to_string().contains("gone.pem"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, content) in [("empty.pem", ""), ("broken.pem", broken)] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let text = error(&path).to_string();
        assert!(text.contains(name) && text.contains("no usable certificate"), "{text}");
    }
}
