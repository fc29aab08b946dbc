//! What services are told, held against what they make of it: the program itself reads the environment of each pod.

use crate::overlay::{Overlay, Pods, SERVICES, documents, labels, list, root, text};
use rlaif_service::server::{LIVENESS, READINESS, STARTUP};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Services of an overlay with the configuration that each makes of its environment and its secrets.
pub struct Told<'a> {
    overlay: &'a Overlay,
    services: BTreeMap<&'a str, (Pods<'a>, toml::Table)>,
}

/// Secrets that `deploy/k8s/secrets` makes: values by secret and key.
pub fn made_secrets() -> BTreeMap<String, BTreeMap<String, String>> {
    let made = Command::new(root().join("deploy/k8s/secrets")).output().unwrap();
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "deploy/k8s/secrets (is openssl installed?): {why}");
    let secrets = documents(&String::from_utf8(made.stdout).unwrap());
    let named = secrets.iter().map(|secret| {
        (text(&secret["metadata"]["name"]).to_owned(), labels(&secret["stringData"]))
    });
    named.collect()
}

/// The secrets of pods as files in a folder; each must be there with its key.
pub fn mounted(pods: &[&Pods<'_>]) -> TempDir {
    let (secrets, folder) = (made_secrets(), tempfile::tempdir().unwrap());
    for (path, secret, key) in pods.iter().flat_map(|pods| pods.secret_files()) {
        let value = secrets.get(secret).and_then(|keys| keys.get(key));
        let value = value.unwrap_or_else(|| panic!("no secret {secret} with {key} is made"));
        let file =
            folder.path().join(path.strip_prefix("/run/secrets/").expect("beside the others"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, value).unwrap();
    }
    folder
}

/// The configuration that a service makes of an environment, its secrets being in `folder`.
fn configuration(
    subcommand: &str,
    environment: BTreeMap<String, String>,
    folder: &Path,
) -> toml::Table {
    let folder = format!("{}/", folder.display());
    let environment = environment.into_iter();
    let dumped = Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args([subcommand, "--dump-config"])
        .env_clear()
        .envs(environment.map(|(name, value)| (name, value.replace("/run/secrets/", &folder))))
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&dumped.stderr);
    assert!(dumped.status.success(), "{subcommand} refuses its settings: {why}");
    String::from_utf8(dumped.stdout).unwrap().parse().unwrap()
}

fn port(address: &toml::Value) -> u16 {
    address.as_str().unwrap().parse::<SocketAddr>().unwrap().port()
}

fn duration(value: &toml::Value) -> Duration {
    humantime::parse_duration(value.as_str().unwrap()).unwrap()
}

impl<'a> Told<'a> {
    /// Asks every service. One that does not know a setting, or misses a secret, refuses.
    pub fn accepted_by_every_service(overlay: &'a Overlay) -> Self {
        let services = overlay.services().into_iter().map(|(name, pods)| {
            let folder = mounted(&[&pods]);
            let config = configuration(name, pods.environment(), folder.path());
            (name, (pods, config))
        });
        let services: BTreeMap<_, _> = services.collect();
        assert_eq!(services.keys().copied().collect::<Vec<_>>(), SERVICES);
        Self { overlay, services }
    }

    fn each(&self) -> impl Iterator<Item = (&'a str, &Pods<'a>, &toml::Table)> {
        self.services.iter().map(|(name, (pods, config))| (*name, pods, config))
    }

    /// All containers name the ports where their services listen, and no other; those that have a default are it.
    pub fn ports_are_where_services_listen(&self) {
        for (name, pods, config) in self.each() {
            let mut listens = BTreeMap::from([
                ("metrics", port(&config["metrics"]["address"])),
                ("probes", port(&config["server"]["probes"]["address"])),
            ]);
            let server = config["server"]["address"].as_str().unwrap();
            if !server.starts_with("127.0.0.1:") {
                listens.insert("grpc", port(&config["server"]["address"]));
            }
            let named = list(&pods.container()["ports"]).iter();
            let named =
                named.map(|p| (text(&p["name"]), p["containerPort"].as_u64().unwrap() as u16));
            assert_eq!(named.collect::<BTreeMap<_, _>>(), listens, "{name}");
        }
        let default = configuration("coordinator", BTreeMap::new(), Path::new("/"));
        let coordinator = &self.services["coordinator"].1;
        assert_eq!(port(&coordinator["server"]["address"]), port(&default["server"]["address"]));
        // Where `rlaif health` looks by default.
        let help =
            Command::new(env!("CARGO_BIN_EXE_rlaif")).args(["health", "--help"]).output().unwrap();
        let metrics = format!("127.0.0.1:{}", port(&coordinator["metrics"]["address"]));
        assert!(String::from_utf8_lossy(&help.stdout).contains(&metrics), "not {metrics}");
    }

    /// A Service leads to a port that its pods have, under the same number.
    pub fn addresses_lead_to_ports(&self) {
        let all = self.overlay.pods();
        for service in self.overlay.all("Service") {
            let name = text(&service["metadata"]["name"]);
            let pods = &all[name];
            let selector = labels(&service["spec"]["selector"]);
            assert!(selector.iter().all(|(k, v)| pods.labels().get(k) == Some(v)), "{name}");
            for port in list(&service["spec"]["ports"]) {
                let mut ports = list(&pods.container()["ports"]).iter();
                let target = ports.find(|p| p["name"] == port["targetPort"]);
                let target =
                    target.unwrap_or_else(|| panic!("{name}: no port {}", port["targetPort"]));
                assert_eq!(target["containerPort"], port["port"], "{name}");
            }
        }
        // Its clients see every pod, and look them up again before long.
        assert_eq!(self.overlay.get("Service", "reward")["spec"]["clusterIP"], "None");
        let age = duration(&self.services["reward"].1["server"]["max_connection_age"]);
        assert!(age <= Duration::from_secs(600), "new pods wait {age:?} for their share");
    }

    /// The page stays within its pod, at the port that README.md forwards to the pod's own 127.0.0.1.
    pub fn the_page_is_where_a_forwarded_port_leads(&self) {
        let readme = include_str!("../../deploy/k8s/README.md");
        let forwarded = readme.split("port-forward statefulset/coordinator ").nth(1);
        let port = forwarded.and_then(|rest| rest.split_whitespace().next()).expect("a port");
        let page = self.services["coordinator"].1["page"].as_table().unwrap();
        assert_eq!(page["enabled"].as_bool(), Some(true));
        assert_eq!(page["address"].as_str().unwrap(), format!("127.0.0.1:{port}"));
        assert!(readme.contains(&format!("https://localhost:{port}")));
    }

    /// Natively over gRPC, on the port that speaks no TLS, each asking for the health service of its name.
    pub fn probes_ask_the_three_health_services(&self) {
        for (name, pods, config) in self.each() {
            let probes = &config["server"]["probes"];
            assert_eq!(probes["allow_remote"].as_bool(), Some(true), "{name}");
            for (probe, service) in [
                ("startupProbe", STARTUP),
                ("readinessProbe", READINESS),
                ("livenessProbe", LIVENESS),
            ] {
                let asked = &pods.container()[probe];
                let expected = json!({ "port": port(&probes["address"]), "service": service });
                assert_eq!(asked["grpc"], expected, "{name}: {probe}");
            }
            let startup = &pods.container()["startupProbe"];
            let patience = startup["periodSeconds"].as_u64().unwrap()
                * startup["failureThreshold"].as_u64().unwrap();
            assert!(
                patience >= 600,
                "{name}: a large model takes longer to load than {patience} s"
            );
        }
    }

    /// Kubernetes waits longer than a service takes at most, and that longer than its calls are drained.
    pub fn services_are_given_the_time_that_they_take_to_end(&self) {
        for (name, pods, config) in self.each() {
            let grace = duration(&config["shutdown"]["grace"]);
            let given = pods.spec()["terminationGracePeriodSeconds"].as_u64().unwrap();
            assert!(Duration::from_secs(given) > grace, "{name} is killed too early");
            let server = &config["server"];
            let drain = duration(&server["drain_delay"]) + duration(&server["drain_timeout"]);
            assert!(drain < grace, "{name}: {drain:?} of drain in {grace:?}");
            if name == "coordinator" || name == "reward" {
                assert!(
                    !duration(&server["drain_delay"]).is_zero(),
                    "{name} refuses before callers know"
                );
            }
        }
    }

    /// The root is read-only, so what is written must lie in a volume; what must stay in one that stays.
    pub fn everything_written_lies_in_a_volume(&self) {
        for (name, pods, config) in self.each() {
            let environment = pods.environment();
            let volume = |path: &str| {
                pods.writable(path).unwrap_or_else(|| panic!("{name} writes to {path}"))
            };
            let artifacts = config["artifacts"]["url"].as_str().unwrap();
            if artifacts.contains("://") {
                assert!(artifacts.starts_with("s3://"), "{name}: {artifacts}");
            } else {
                assert_eq!(volume(artifacts), "artifacts", "{name}");
            }
            volume(config["artifacts"]["cache"].as_str().unwrap());
            volume("/tmp");
            if name == "coordinator" {
                let data = config["coordinator"]["data_dir"].as_str().unwrap();
                assert!(pods.claims().contains(&volume(data)), "the journal goes with its pod");
            } else {
                let scratch = volume(&environment["TMPDIR"]);
                assert_ne!(scratch, "tmp", "{name}: a model does not fit there");
                let ledger = config["worker"].get("ledger").and_then(|ledger| ledger.get("path"));
                let staying = match name {
                    "learner" => Some(scratch),
                    _ => ledger.map(|path| volume(path.as_str().unwrap())),
                };
                assert_eq!(pods.claims(), Vec::from_iter(staying), "{name}");
                assert_eq!(pods.mounts()["models"]["readOnly"], true, "{name}");
            }
        }
    }

    /// Producers and workers agree on the queue, but for patience, and meet at one store.
    pub fn all_meet_at_the_same_places(&self) {
        let places = self.each().map(|(_, pods, config)| {
            let mut options = config["queue"]["options"].as_table().unwrap().clone();
            options.remove("patience");
            let url = pods.environment()["RLAIF__QUEUE__URL"].clone();
            format!("{url} {options:?} {}", config["artifacts"]["url"])
        });
        assert_eq!(places.collect::<BTreeSet<_>>().len(), 1);
    }

    /// Who is reached by other pods proves itself and asks callers for tokens; with `mutual`, for certificates too.
    pub fn servers_ask_who_calls(&self, mutual: bool) {
        for (name, pods, config) in self.each() {
            let server = config["server"].as_table().unwrap();
            let reached = pods.environment().contains_key("RLAIF__SERVER__ADDRESS");
            assert_eq!(reached, ["coordinator", "reward"].contains(&name), "{name}");
            if !reached {
                assert_eq!(server["allow_remote"].as_bool(), Some(false), "{name}");
                continue;
            }
            assert_eq!(
                server["tls"].as_table().unwrap().contains_key("client_ca"),
                mutual,
                "{name}"
            );
            assert_eq!(server["auth"]["enabled"].as_bool(), Some(true), "{name}");
            let tokens = server["auth"]["tokens"].as_table().unwrap();
            assert_eq!(tokens.keys().collect::<Vec<_>>(), ["admin", "client"], "{name}");
        }
        let tools = &self.overlay.pods()["tools"];
        let environment = tools.environment();
        let folder = mounted(&[tools]);
        for file in
            ["RLAIF_CA_FILE", "RLAIF_TOKEN_FILE", "RLAIF_CERTIFICATE_FILE", "RLAIF_KEY_FILE"]
        {
            let expected = mutual || !["RLAIF_CERTIFICATE_FILE", "RLAIF_KEY_FILE"].contains(&file);
            let given = environment.get(file);
            assert_eq!(given.is_some(), expected, "{file}");
            let there = |path: &String| {
                folder.path().join(path.trim_start_matches("/run/secrets/")).is_file()
            };
            assert!(given.is_none_or(there), "{file} is not mounted");
        }
    }
}

/// Whether an address in a text is `scheme://user:password@host`.
fn holds_a_password(text: &str) -> bool {
    let authorities = text.split("://").skip(1).filter_map(|rest| rest.split(['/', ' ']).next());
    let mut users = authorities.filter_map(|authority| authority.rsplit_once('@'));
    users.any(|(user, _)| user.contains(':'))
}

#[test]
fn a_password_within_an_address_is_noticed() {
    for text in ["redis://rlaif:secret@redis:6379", "{ url = \"rediss://:secret@host/0\" }"] {
        assert!(holds_a_password(text), "{text}");
    }
    for text in ["http://otel-collector.observability.svc:4317", "s3://bucket/a:b@c", "0.0.0.0:80"]
    {
        assert!(!holds_a_password(text), "{text}");
    }
}

/// No secret stands in a file; each is named, and found where it is made.
pub fn secrets_go_by_reference(overlay: &Overlay) {
    assert_eq!(overlay.all("Secret").count(), 0);
    for settings in overlay.all("ConfigMap") {
        for (name, value) in labels(&settings["data"]) {
            assert!(!holds_a_password(&value), "{name} holds a password");
        }
    }
    for (name, pods) in overlay.pods() {
        mounted(&[&pods]);
        for (variable, value) in pods.environment() {
            assert!(!holds_a_password(&value), "{name}: {variable} holds a password");
        }
        for variable in list(&pods.container()["env"]) {
            assert!(
                variable["valueFrom"].is_null(),
                "{name}: {variable} is seen by who sees the process"
            );
        }
    }
}

/// Whoever signed its certificate and whichever database the queue is in, services and KEDA read the same.
pub fn a_redis_of_somebody_else_is_found_and_trusted(overlay: &Overlay) {
    let trigger = &overlay.get("ScaledObject", "labeler")["spec"]["triggers"][0]["metadata"];
    assert_eq!(trigger["enableTLS"], "true");
    assert_eq!(trigger["databaseIndex"], "0");
    let keda = &overlay.get("TriggerAuthentication", "queue")["spec"]["secretTargetRef"];
    let authority = json!({ "parameter": "ca", "name": "queue", "key": "ca.crt" });
    assert!(list(keda).contains(&authority), "{keda}");
    // A public authority needs no file, so there may be none.
    let secret = json!({
        "secretName": "queue",
        "optional": true,
        "defaultMode": 0o440,
        "items": [{ "key": "ca.crt", "path": "ca.crt" }],
    });
    let component = root().join("deploy/k8s/components/managed/kustomization.yaml");
    let component = std::fs::read_to_string(component).unwrap();
    let setting = component.lines().find_map(|line| line.trim().strip_prefix("# - RLAIF__QUEUE"));
    let (name, file) = setting.and_then(|setting| setting.split_once('=')).expect("a setting");
    for (service, pods) in overlay.services() {
        let mut volumes = list(&pods.spec()["volumes"]).iter();
        let volume = volumes.find(|volume| volume["name"] == "queue-ca");
        assert_eq!(volume.map(|volume| &volume["secret"]), Some(&secret), "{service}");
        let mounts = pods.mounts();
        let folder = text(&mounts["queue-ca"]["mountPath"]);
        assert_eq!(file, format!("{folder}/ca.crt"), "{service}");
        let mut environment = pods.environment();
        environment.insert(format!("RLAIF__QUEUE{name}"), file.to_owned());
        let config = configuration(service, environment, mounted(&[&pods]).path());
        assert!(config["queue"].as_table().unwrap().contains_key("ca_file"), "{service}");
    }
}

/// What the queue's promises rest on.
pub fn redis_keeps_what_the_queue_promises(overlay: &Overlay) {
    let redis = &overlay.pods()["redis"];
    let args: Vec<&str> = list(&redis.container()["args"]).iter().map(text).collect();
    let command = args.join(" ");
    for flag in [
        "--appendonly yes",
        "--appendfsync always",
        "--maxmemory-policy noeviction",
        "--maxmemory ",
    ] {
        assert!(command.contains(flag), "{command}");
    }
    assert_eq!(redis.claims(), ["data"]);
    assert_eq!(redis.mounts()["data"]["mountPath"], "/data");
    // It may take minutes to read its file: that is no reason to end it.
    assert!(redis.container()["livenessProbe"]["tcpSocket"].is_object());
    assert_ne!(redis.container()["startupProbe"], Value::Null);
}
