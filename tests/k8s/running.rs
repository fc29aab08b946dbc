//! Production's coordinator, told what its pod is told but for addresses and folders, run on this machine: the secrets
//! fit, probes and callers reach it, and who has no certificate does not.

use crate::overlay::Overlay;
use crate::settings::mounted;
use rlaif_service::server::{LIVENESS, READINESS, STARTUP};
use rlaif_testkit::{Process, RedisServer, eventually, free_port};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tonic::transport::Endpoint;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// The program as a pod runs it, with this machine's places instead of the pod's.
fn program(
    overlay: &Overlay,
    component: &str,
    args: &[&str],
    places: &[(String, String)],
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    command.args(args).env_clear().stdin(Stdio::null());
    for (name, value) in overlay.pods()[component].environment() {
        let here = places.iter().fold(value, |value, (there, here)| value.replace(there, here));
        command.env(name, here);
    }
    command
}

fn places(secrets: &Path, data: &Path, ports: &[(&str, u16)]) -> Vec<(String, String)> {
    let folders = [("/run/secrets", secrets), ("/var/lib/rlaif", data)];
    let folders = folders.map(|(there, here)| (there.to_owned(), here.display().to_string()));
    let ports = ports.iter().map(|(there, port)| {
        let host = if there.starts_with("coordinator") { "localhost" } else { "127.0.0.1" };
        ((*there).to_owned(), format!("{host}:{port}"))
    });
    folders.into_iter().chain(ports).collect()
}

async fn health(port: u16, service: &str) -> Option<ServingStatus> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut client = HealthClient::new(endpoint.connect_lazy());
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.ok().map(|answer| answer.into_inner().status())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn productions_coordinator_answers_probes_and_those_with_a_certificate_and_a_token() {
    let overlay = Overlay::read("production");
    let (redis, data) = (RedisServer::start(), tempfile::tempdir().unwrap());
    // Both are of one making: a certificate is of its authority.
    let pods = overlay.pods();
    let secrets = mounted(&[&pods["coordinator"], &pods["tools"]]);
    std::fs::write(secrets.path().join("rlaif/queue_url"), redis.url()).unwrap();
    let [server, probes, metrics] = [free_port(), free_port(), free_port()];
    let ports = [
        ("coordinator.rlaif.svc:7400", server),
        ("0.0.0.0:7400", server),
        ("0.0.0.0:7480", probes),
        ("0.0.0.0:9464", metrics),
    ];
    let here = places(secrets.path(), data.path(), &ports);
    let _coordinator = Process::spawn(
        program(&overlay, "coordinator", &["coordinator"], &here)
            .env_remove("RLAIF__TELEMETRY__OTLP__ENDPOINT")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    for service in [STARTUP, READINESS, LIVENESS] {
        eventually(service, async || {
            (health(probes, service).await == Some(ServingStatus::Serving)).then_some(())
        })
        .await;
    }
    assert_eq!(health(server, READINESS).await, None, "the server itself speaks TLS alone");

    let jobs = |without: &[&str]| {
        let mut command = program(&overlay, "tools", &["jobs"], &here);
        for name in without {
            command.env_remove(name);
        }
        command.output().unwrap()
    };
    let answered = jobs(&[]);
    assert!(answered.status.success(), "{}", said(&answered));
    // Turned away before anybody looks at tokens.
    let refused = jobs(&["RLAIF_CERTIFICATE_FILE", "RLAIF_KEY_FILE"]);
    let why = said(&refused);
    assert!(!refused.status.success() && !why.contains("send a token"), "{why}");
    let refused = jobs(&["RLAIF_TOKEN_FILE"]);
    assert!(
        !refused.status.success() && said(&refused).contains("send a token"),
        "{}",
        said(&refused)
    );
    let refused = jobs(&["RLAIF_KEY_FILE"]);
    assert!(said(&refused).contains("--key-file"), "{}", said(&refused));
}
