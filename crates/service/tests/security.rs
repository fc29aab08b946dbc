//! TLS, client certificates and roles over real connections.

mod support;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rlaif_service::auth::{self, Role, Token};
use rlaif_service::client::{self, Channel};
use rlaif_service::config::Secret;
use rlaif_service::server::{Config, LIVENESS, ProbesConfig, READINESS, STARTUP};
use rlaif_service::tls::{ClientTls, ServerTls};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::*;
use tempfile::TempDir;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

/// An authority with a certificate for `localhost` (`server.*`) and one for a client (`client.*`).
struct Authority {
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &ca).unwrap();
            write(folder.path(), name, &certificate.pem(), &key.serialize_pem());
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, client_ca: bool) -> Config {
        let tls = ServerTls {
            certificate: self.file("server.crt"),
            key: self.file("server.key"),
            client_ca: client_ca.then(|| self.file("ca.crt")),
        };
        Config { tls: Some(tls), ..config() }
    }

    fn client(&self, with_certificate: bool) -> ClientTls {
        ClientTls {
            ca: self.file("ca.crt"),
            certificate: with_certificate.then(|| self.file("client.crt")),
            key: with_certificate.then(|| self.file("client.key")),
            server_name: Some("localhost".to_owned()),
        }
    }
}

fn write(folder: &Path, name: &str, certificate: &str, key: &str) {
    std::fs::write(folder.join(format!("{name}.crt")), certificate).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

fn channel(running: &Running, tls: Option<ClientTls>, token: Option<&str>) -> Channel {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut config = client_config(&format!("{scheme}://{}", running.address));
    config.tls = tls;
    config.token = token.map(|t| Secret::new(t.to_owned()));
    client::channel(&config).unwrap()
}

#[tokio::test]
async fn tls_is_spoken_with_those_who_trust_the_authority_only() {
    let (ours, other) = (Authority::new(), Authority::new());
    let running = start(ours.server(false)).await;
    let trusting = channel(&running, Some(ours.client(false)), None);
    assert_eq!(say(&trusting, "hello").await.unwrap(), "hello");
    let distrusting = channel(&running, Some(other.client(false)), None);
    let refused = say(&distrusting, "hello").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    says(&refused, &[&running.address.to_string(), "invalid peer certificate", "tls.ca must hold"]);
    let in_the_clear = channel(&running, None, None);
    assert!(say(&in_the_clear, "hello").await.is_err());
}

/// Each of these is in what a user reads.
fn says(status: &Status, parts: &[&str]) {
    for part in parts {
        assert!(status.message().contains(part), "{part} is not in {status}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_with_both_ways_out() {
    let authority = Authority::new();
    let running = start(authority.server(false)).await;
    let mistaken = ClientTls { server_name: Some("judge".to_owned()), ..authority.client(false) };
    let refused = say(&channel(&running, Some(mistaken), None), "hello").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    says(&refused, &[&running.address.to_string(), "judge", "localhost", "tls.server_name"]);
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let running = start(config()).await;
    let away = channel(&running, None, None);
    running.shutdown.cancel();
    running.ended.await.unwrap().unwrap();
    let refused = say(&away, "hello").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    says(&refused, &[&format!("http://{}", running.address), "refused"]);
}

#[tokio::test]
async fn with_a_client_authority_only_its_clients_connect() {
    let (ours, other) = (Authority::new(), Authority::new());
    let running = start(ours.server(true)).await;
    let known = channel(&running, Some(ours.client(true)), None);
    assert_eq!(say(&known, "hello").await.unwrap(), "hello");
    let without = channel(&running, Some(ours.client(false)), None);
    assert!(say(&without, "hello").await.is_err());
    let mut foreign = other.client(true);
    foreign.ca = ours.file("ca.crt");
    assert!(say(&channel(&running, Some(foreign), None), "hello").await.is_err());
}

#[tokio::test]
async fn a_prober_without_a_certificate_learns_of_health_and_of_nothing_else() {
    let authority = Authority::new();
    let probes = ProbesConfig {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        allow_remote: false,
        max_connections: 1,
    };
    let running = start(Config { probes: Some(probes), ..authority.server(true) }).await;
    let port = running.probes.expect("a port for probes");
    let prober = client::channel(&client_config(&format!("http://{port}"))).unwrap();
    let check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() };
        Ok::<_, Status>(
            HealthClient::new(prober.clone()).check(request).await?.into_inner().status(),
        )
    };
    for service in [STARTUP, READINESS, LIVENESS] {
        assert_eq!(check(service).await.unwrap(), ServingStatus::Serving, "{service}");
    }
    running.health.set_ready(false).await;
    assert_eq!(check(READINESS).await.unwrap(), ServingStatus::NotServing);
    assert_eq!(check(LIVENESS).await.unwrap(), ServingStatus::Serving);
    assert_eq!(say(&prober, "hello").await.unwrap_err().code(), Code::Unimplemented);

    // While calls end it still answers, that nobody may be sent here.
    running.health.set_ready(true).await;
    let known = channel(&running, Some(authority.client(true)), None);
    let call = running.occupy(&known).await;
    running.shutdown.cancel();
    while check(READINESS).await.is_ok_and(|status| status == ServingStatus::Serving) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(!running.ended.is_finished());
    running.echo.release.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "released");
    running.ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn probes_from_other_machines_take_permission() {
    let probes = ProbesConfig {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        allow_remote: false,
        max_connections: 0,
    };
    let config = Config { probes: Some(probes), ..config() };
    let refused = rlaif_service::server::Server::bind(config).await.unwrap_err().to_string();
    for problem in ["probes.address is reachable", "probes.max_connections must"] {
        assert!(refused.contains(problem), "{refused}");
    }
}

#[tokio::test]
async fn a_server_with_a_wrong_key_does_not_start() {
    let authority = Authority::new();
    let mut config = authority.server(false);
    config.tls.as_mut().unwrap().key = authority.file("client.key");
    let error = rlaif_service::server::Server::bind(config).await.unwrap_err().to_string();
    assert!(error.contains("client.key") && error.contains("does not belong"), "{error}");
}

#[tokio::test]
async fn every_method_asks_for_its_roles() {
    let (client, worker) = ("client-client-client-client", "worker-worker-worker-worker");
    let token = |role, t: &str| Token { role, token: Secret::new(t.to_owned()) };
    let tokens = [
        ("alice".to_owned(), token(Role::Client, client)),
        ("labeler-1".to_owned(), token(Role::Worker, worker)),
    ];
    let auth = auth::Config { enabled: true, tokens: tokens.into() };
    let running = start(Config { auth, ..config() }).await;

    let alice = channel(&running, None, Some(client));
    assert_eq!(say(&alice, "who am I").await.unwrap(), "alice Client");
    let refused = listen(&alice, Request::new(String::new())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let labeler = channel(&running, None, Some(worker));
    assert_eq!(say(&labeler, "hello").await.unwrap_err().code(), Code::PermissionDenied);
    assert!(listen(&labeler, Request::new(String::new())).await.is_ok());

    for token in [None, Some("nobody-nobody-nobody-nobody")] {
        let stranger = channel(&running, None, token);
        assert_eq!(say(&stranger, "hello").await.unwrap_err().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_caller_has_no_more_than_its_share_and_the_last_places_are_for_administrators() {
    let names = [("labeler-1", Role::Worker), ("labeler-2", Role::Worker), ("root", Role::Admin)];
    let secret = |name: &str| name.repeat(8);
    let token = |role, name: &str| Token { role, token: Secret::new(secret(name)) };
    let tokens = names.map(|(name, role)| (name.to_owned(), token(role, name)));
    let auth = auth::Config { enabled: true, tokens: tokens.into() };
    let bounds = Config { auth, max_streams: 4, caller_share: 0.5, kept_for_admins: 1, ..config() };
    let running = start(bounds).await;
    let [first, second, root] = names.map(|(name, _)| channel(&running, None, Some(&secret(name))));
    let open = async |channel: &Channel| listen(channel, Request::new(String::new())).await;
    let refused = async |channel: &Channel, why: &str| {
        let status = open(channel).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        says(&status, &[why]);
    };

    let mut streams = vec![open(&first).await.unwrap(), open(&first).await.unwrap()];
    refused(&first, "labeler-1 has 2 streams").await;
    streams.push(open(&second).await.unwrap());
    refused(&second, "as many streams as it may").await;
    streams.push(open(&root).await.unwrap());
    refused(&root, "as many streams as it may").await;
    // Streams cost nobody a call.
    assert_eq!(say(&root, "hello").await.unwrap(), "hello");

    streams.clear();
    while open(&first).await.is_err() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
