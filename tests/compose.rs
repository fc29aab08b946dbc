//! docker-compose.yml and what belongs to it, held against what the services accept and promise. Whether
//! it runs takes a Docker: deploy/compose/check.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const WORKERS: [&str; 4] = ["labeler", "rollout", "reward", "learner"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What the tests look at; anchors and merges are resolved.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    networks: BTreeMap<String, Network>,
    secrets: BTreeMap<String, SecretFile>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    profiles: Vec<String>,
    #[serde(default)]
    entrypoint: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    user: String,
    read_only: bool,
    cap_drop: Vec<String>,
    security_opt: Vec<String>,
    pids_limit: u32,
    #[serde(default)]
    stop_grace_period: String,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    healthcheck: Option<Healthcheck>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    networks: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    deploy: Value,
    /// The rest, among it what would undo the confinement.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
}

#[derive(Deserialize, Default)]
struct Network {
    #[serde(default)]
    internal: bool,
}

#[derive(Deserialize)]
struct SecretFile {
    file: String,
}

impl Service {
    /// Everything in which a secret's path may stand.
    fn words(&self) -> Vec<&str> {
        let probe = self.healthcheck.iter().flat_map(|check| &check.test);
        let words = self.entrypoint.iter().chain(&self.command).chain(probe);
        words.chain(self.environment.values()).map(String::as_str).collect()
    }
}

/// A file as Compose reads it where only the variables are set that must be.
fn load<T: DeserializeOwned>(path: &str) -> T {
    let mut text = read(path);
    while let Some(start) = text.find("${") {
        let length = text[start..].find('}').expect("a variable ends");
        let default = text[start..start + length].split_once(":-");
        let value = default.map_or("set", |(_, value)| value).to_owned();
        text.replace_range(start..=start + length, &value);
    }
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn compose() -> Compose {
    load("docker-compose.yml")
}

/// Services that run the program, by its subcommand.
fn programs(compose: &Compose) -> impl Iterator<Item = (&str, &Service)> {
    compose.services.values().filter_map(|service| match service.command.as_slice() {
        [subcommand] => Some((subcommand.as_str(), service)),
        _ => None,
    })
}

/// The configuration that a service makes of its environment, its secrets being in `folder`.
fn dump_config(subcommand: &str, service: &Service, folder: &Path) -> Output {
    let folder = format!("{}/", folder.display());
    let environment = service.environment.iter();
    Command::new(env!("CARGO_BIN_EXE_rlaif"))
        .args([subcommand, "--dump-config"])
        .env_clear()
        .envs(environment.map(|(name, value)| (name, value.replace("/run/secrets/", &folder))))
        .output()
        .unwrap()
}

/// What `deploy/compose/secrets` makes.
fn secrets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = root().join("deploy/compose/secrets");
    let made = Command::new(script).env("RLAIF_SECRETS", folder.path()).output().unwrap();
    let why = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "deploy/compose/secrets (is openssl installed?): {why}");
    folder
}

#[test]
fn every_container_is_confined() {
    for (name, service) in compose().services {
        let users: Vec<u32> = service.user.split(':').map(|id| id.parse().unwrap()).collect();
        assert!(users.len() == 2 && !users.contains(&0), "{name} runs as {}", service.user);
        assert!(service.read_only, "{name} can write to its root");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert!(service.pids_limit > 0, "{name} may have any number of threads");
        for loophole in ["privileged", "cap_add", "network_mode", "pid", "ipc", "devices"] {
            assert!(!service.rest.contains_key(loophole), "{name} has {loophole}");
        }
    }
}

#[test]
fn only_the_coordinator_is_published_and_only_on_this_machine() {
    let compose = compose();
    for (name, service) in &compose.services {
        let published: &[&str] = match name.as_str() {
            // What clients call, and the live page.
            "coordinator" => &["127.0.0.1:7400:7400", "127.0.0.1:7402:7402"],
            _ => &[],
        };
        assert_eq!(service.ports, published, "{name}");
        let outside = ["coordinator", "rlaif"].contains(&name.as_str());
        let inside = service.networks.iter().all(|network| compose.networks[network].internal);
        assert!(outside || inside, "{name} has no need to reach other machines");
    }
}

#[test]
fn images_are_pinned_and_ours_has_our_version_and_is_built_once() {
    let ours = format!("rlaif:{}", env!("CARGO_PKG_VERSION"));
    let mut built = Vec::new();
    for (name, service) in compose().services {
        let (_, tag) = service.image.split_once(':').expect("a tag");
        assert!(!tag.contains("latest"), "{name} is whatever is newest");
        if name == "redis" {
            continue;
        }
        assert!(service.image.starts_with(&ours), "{name} is {}, not {ours}", service.image);
        assert_eq!(service.rest["pull_policy"], "never", "{name} may be somebody else's image");
        if service.rest.contains_key("build") {
            built.push(service.image);
        }
    }
    assert_eq!(built, [ours.clone(), format!("{ours}-cuda")]);
    for file in ["deploy/docker/Dockerfile", "deploy/docker/prebuilt"] {
        assert!(read(file).contains(&ours), "{file} names another version than {ours}");
    }
}

#[test]
fn every_service_accepts_its_settings() {
    let (compose, folder) = (compose(), secrets());
    let mut checked = 0;
    for (subcommand, service) in programs(&compose) {
        let dumped = dump_config(subcommand, service, folder.path());
        let why = String::from_utf8_lossy(&dumped.stderr);
        assert!(dumped.status.success(), "{subcommand} refuses its settings: {why}");
        checked += 1;
    }
    assert_eq!(checked, 1 + 2 * WORKERS.len());
}

/// What a file beside docker-compose.yml adds to services.
#[derive(Deserialize)]
struct Overlay {
    services: BTreeMap<String, Added>,
}

#[derive(Deserialize)]
struct Added {
    environment: BTreeMap<String, String>,
    ports: Vec<String>,
}

#[test]
fn what_is_added_for_direct_callers_is_accepted_and_published_on_this_machine_only() {
    for (overlay, published) in [
        ("get-reward.yml", &[("reward", "7410:7410")][..]),
        (
            "direct.yml",
            &[("labeler", "7411:7400"), ("reward", "7412:7400"), ("rollout", "7413:7400")][..],
        ),
    ] {
        let overlay: Overlay = load(&format!("deploy/compose/{overlay}"));
        let (mut compose, folder) = (compose(), secrets());
        let names: Vec<&String> = overlay.services.keys().collect();
        assert_eq!(names, published.iter().map(|(name, _)| name).collect::<Vec<_>>());
        for ((name, added), (_, port)) in overlay.services.into_iter().zip(published) {
            assert_eq!(added.ports, [format!("127.0.0.1:{port}")], "{name}");
            let service = compose.services.get_mut(&name).unwrap();
            service.environment.extend(added.environment);
            let dumped = dump_config(&name, service, folder.path());
            let why = String::from_utf8_lossy(&dumped.stderr);
            assert!(dumped.status.success(), "{name} refuses its settings: {why}");
        }
    }
}

#[test]
fn a_setting_that_no_service_knows_would_be_noticed() {
    let (mut compose, folder) = (compose(), secrets());
    let labeler = compose.services.get_mut("labeler").unwrap();
    labeler.environment.insert("RLAIF__WORKER__DEVISE".to_owned(), "cpu".to_owned());
    let dumped = dump_config("labeler", labeler, folder.path());
    assert!(!dumped.status.success());
    assert!(String::from_utf8_lossy(&dumped.stderr).contains("RLAIF__WORKER__DEVISE"));
}

#[test]
fn every_secret_is_made_and_each_service_has_just_those_it_reads() {
    let (compose, folder) = (compose(), secrets());
    for (name, secret) in &compose.secrets {
        assert!(secret.file.ends_with(&format!("/.secrets/{name}")), "{}", secret.file);
        let made = std::fs::read_to_string(folder.path().join(name));
        assert!(made.is_ok_and(|text| !text.trim().is_empty()), "{name} is not made");
    }
    for (name, service) in &compose.services {
        let words = service.words().join(" ");
        let reads = |secret: &&String| words.contains(&format!("/run/secrets/{secret}"));
        let read: BTreeSet<&String> = compose.secrets.keys().filter(reads).collect();
        assert_eq!(service.secrets.iter().collect::<BTreeSet<_>>(), read, "{name}");
    }
    let ignored = read(".gitignore");
    assert!(ignored.lines().any(|line| line == "deploy/compose/.secrets/"), "{ignored}");
    assert_eq!(read(".dockerignore").lines().find(|l| !l.starts_with('#')), Some("*"));
}

#[test]
fn services_are_a_user_of_redis_with_the_rights_of_queues_alone() {
    let folder = secrets();
    let made = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        text.trim().to_owned()
    };
    let (password, rules) = (made("queue_password"), read("deploy/redis.rules"));
    let operator = format!("requirepass {}", made("redis_password"));
    let user = format!("user rlaif on >{password} {}", rules.trim());
    assert_eq!(made("redis_conf").lines().collect::<Vec<_>>(), [operator, user]);
    assert_eq!(made("queue_url"), format!("redis://rlaif:{password}@redis:6379"));
}

#[test]
fn services_start_once_what_they_need_is_healthy() {
    let compose = compose();
    for (name, service) in &compose.services {
        for (needed, dependency) in &service.depends_on {
            assert_eq!(dependency.condition, "service_healthy", "{name} on {needed}");
            assert!(compose.services[needed].healthcheck.is_some(), "{needed} is never healthy");
        }
    }
    for (subcommand, service) in programs(&compose) {
        assert!(service.depends_on.contains_key("redis"), "{subcommand} does not wait for Redis");
        // It asks where RLAIF__METRICS__ADDRESS says.
        let probe = &service.healthcheck.as_ref().unwrap().test;
        assert_eq!(*probe, ["CMD", "rlaif", "health"], "{subcommand}");
        assert!(service.environment.contains_key("RLAIF__METRICS__ADDRESS"), "{subcommand}");
    }
}

#[test]
fn services_are_given_the_time_that_they_take_to_end() {
    let (compose, folder) = (compose(), secrets());
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u32>().unwrap();
    for (subcommand, service) in programs(&compose) {
        let dumped = dump_config(subcommand, service, folder.path()).stdout;
        let config: toml::Table = String::from_utf8(dumped).unwrap().parse().unwrap();
        let grace = seconds(config["shutdown"]["grace"].as_str().unwrap());
        assert!(seconds(&service.stop_grace_period) > grace, "{subcommand} is killed too early");
    }
}

#[test]
fn redis_keeps_what_the_queue_promises() {
    let command = compose().services["redis"].command.join(" ");
    for flag in [
        "--appendonly yes",
        "--appendfsync always",
        "--maxmemory-policy noeviction",
        "--maxmemory ",
    ] {
        assert!(command.contains(flag), "{command}");
    }
}

#[test]
fn workers_run_on_cpus_or_on_gpus_never_on_both() {
    let compose = compose();
    assert!(read(".env").lines().any(|line| line == "COMPOSE_PROFILES=cpu"));
    for worker in WORKERS {
        let (cpu, gpu) = (&compose.services[worker], &compose.services[&format!("{worker}-gpu")]);
        assert_eq!((cpu.profiles.join(","), gpu.profiles.join(",")), ("cpu".into(), "gpu".into()));
        assert!(cpu.deploy.is_null());
        let device = &gpu.deploy["resources"]["reservations"]["devices"][0];
        assert_eq!(device["capabilities"][0], "gpu", "{worker}");
        assert_eq!(gpu.environment["RLAIF__WORKER__DEVICE"], "cuda:0", "{worker}");
    }
}

/// What an option was given, each time that it stands among a command's words.
fn given<'a>(words: &[&'a str], option: &str) -> Vec<&'a str> {
    words.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1]).collect()
}

/// By the command of deploy/k8s/README.md, whose words the shell takes apart.
#[test]
fn the_image_for_gpus_on_kubernetes_is_built_as_compose_builds_it() {
    let page = read("deploy/k8s/README.md");
    let start = page.find("docker build ").expect("a command");
    let (command, _) = page[start..].split_once("```").expect("its block ends");
    let script = format!("docker() {{ printf '%s\\n' \"$@\"; }}\n{command}");
    let split = Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
    assert!(split.status.success(), "{}", String::from_utf8_lossy(&split.stderr));
    let split = String::from_utf8(split.stdout).unwrap();
    let words: Vec<&str> = split.lines().collect();

    let compose = compose();
    let gpu = &compose.services["labeler-gpu"];
    let build = &gpu.rest["build"];
    assert_eq!(given(&words, "--file"), [build["dockerfile"].as_str().unwrap()]);
    assert_eq!(given(&words, "--target"), [build["target"].as_str().unwrap()]);
    assert_eq!(given(&words, "--tag"), [gpu.image.as_str()]);
    assert_eq!(words.last().copied(), build["context"].as_str());
    let args = build["args"].as_object().unwrap();
    let args = args.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap()));
    let stated = given(&words, "--build-arg").into_iter().map(str::to_owned);
    assert_eq!(stated.collect::<BTreeSet<_>>(), args.collect::<BTreeSet<_>>());
    // With a bucket besides.
    let features = build["args"]["FEATURES"].as_str().unwrap();
    assert!(page.contains(&format!("`FEATURES={features},s3`")), "{features}");
}

#[test]
fn the_dockerfile_suits_every_builder_and_pins_its_bases() {
    let dockerfile = read("deploy/docker/Dockerfile");
    let lines: Vec<&str> = dockerfile.lines().filter(|l| !l.starts_with('#')).collect();
    for modern in ["--mount=", "--chmod=", "--link", "<<"] {
        assert!(!lines.iter().any(|line| line.contains(modern)), "{modern} needs BuildKit");
    }
    let bases: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("FROM ").or(line.strip_prefix("ARG RUNTIME=")))
        .map(|base| base.split(' ').next().unwrap())
        .collect();
    let stages = ["${RUNTIME}", "runtime"];
    for base in bases.iter().filter(|base| !stages.contains(base)) {
        let tag = base.split_once(':').expect("a tag").1;
        assert!(!tag.contains("latest"), "{base}");
    }
    let rust = format!("rust:{}-bookworm", env!("CARGO_PKG_RUST_VERSION"));
    assert!(bases.contains(&rust.as_str()), "the image is built by another Rust than {rust}");
}
