//! Prometheus beside the cluster of docker-compose.yml: it finds every service, and confines itself like the
//! cluster does. Whether it runs takes a Docker.

use crate::{read, root};
use rlaif_service::metrics::definitions::GROUPS;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Value>,
}

fn yaml<T: serde::de::DeserializeOwned>(path: &str) -> T {
    serde_saphyr::from_str(&read(root(path))).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn every_service_of_the_cluster_is_scraped_under_its_own_name() {
    let cluster: Compose = yaml("docker-compose.yml");
    let scraped: Value = yaml("deploy/observability/prometheus.yml");
    let (mut jobs, mut found) = (BTreeSet::new(), BTreeSet::new());
    for job in scraped["scrape_configs"].as_array().unwrap() {
        let name = job["job_name"].as_str().unwrap();
        jobs.insert(name);
        let discovery = &job["dns_sd_configs"][0];
        for host in words(&discovery["names"]) {
            let service = &cluster.services[host];
            let command = words(&service["command"]).join(" ");
            assert_eq!(format!("rlaif-{command}"), name, "{host} is scraped as {name}");
            let address = service["environment"]["RLAIF__METRICS__ADDRESS"].as_str().unwrap();
            let port = address.rsplit_once(':').unwrap().1;
            assert_eq!(discovery["port"].to_string(), port, "{host}");
            found.insert(host);
        }
    }
    let exporting = GROUPS.iter().flat_map(|group| group.services.iter().copied());
    assert_eq!(jobs, exporting.collect::<BTreeSet<&str>>());
    let exports = |service: &Value| !service["environment"]["RLAIF__METRICS__ADDRESS"].is_null();
    let all = cluster.services.iter().filter(|(_, service)| exports(service));
    assert_eq!(found, all.map(|(name, _)| name.as_str()).collect::<BTreeSet<&str>>());
}

#[test]
fn what_is_added_is_confined_pinned_found_on_this_machine_only_and_mounts_what_is_there() {
    let added: Compose = yaml("deploy/observability/compose.yml");
    for (name, service) in &added.services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_ne!(service["user"].as_str().unwrap().split(':').next(), Some("0"), "{name}");
        let (_, tag) = service["image"].as_str().unwrap().split_once(':').expect("a tag");
        assert!(!tag.contains("latest"), "{name}");
        assert!(words(&service["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")));
        let mounts = words(&service["volumes"]).into_iter().filter_map(|v| v.strip_prefix("./"));
        for mount in mounts {
            let (file, access) = mount.split_once(':').unwrap();
            assert!(root(file).exists(), "{name} mounts {file}, which is not there");
            assert!(access.ends_with(":ro"), "{name} may write {file}");
        }
    }
}
