//! What the rendered overlays tell Prometheus's operator: whom it scrapes, under which name, and which alerts it loads.
//! Alerts go by that name.

use crate::{alerts, files, read, root};
use rlaif_service::metrics::definitions::GROUPS;
use serde_json::Value;
use std::collections::BTreeSet;

/// Overlays with `components/observability`.
const OBSERVED: [&str; 2] = ["production", "managed"];

fn objects(overlay: &str) -> Vec<Value> {
    let rendered = read(root(&format!("deploy/k8s/rendered/{overlay}.yaml")));
    serde_saphyr::from_multiple(&rendered).unwrap_or_else(|e| panic!("{overlay}: {e}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether the pods of a template have all labels of a selector.
fn selects(selector: &Value, template: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().expect("the labels of our pods");
    wanted.iter().all(|(name, value)| template["metadata"]["labels"][name] == *value)
}

fn has_port(template: &Value, name: &Value) -> bool {
    let mut ports = list(&template["spec"]["containers"]).iter().flat_map(|c| list(&c["ports"]));
    ports.any(|port| port["name"] == *name)
}

/// The job of such pods, by the rule that gives it to them; by default it would be the monitor's own name.
fn job(endpoint: &Value, template: &Value) -> String {
    let gives_job = |rule: &&Value| rule["targetLabel"] == "job";
    let rule = list(&endpoint["relabelings"]).iter().find(gives_job);
    let rule = rule.expect("all pods are scraped as one job, named after the PodMonitor");
    let [source] = list(&rule["sourceLabels"]) else { panic!("{rule}") };
    // The operator's name of a pod's label has underscores for what Prometheus does not allow in one.
    let label = text(source).strip_prefix("__meta_kubernetes_pod_label_").expect("a label of pods");
    let of_pods = template["metadata"]["labels"].as_object().unwrap();
    let known = |name: &str| name.replace(['.', '/', '-'], "_");
    let value = of_pods.iter().find(|(name, _)| known(name) == label).map(|(_, value)| text(value));
    text(&rule["replacement"]).replace("$1", value.unwrap_or_default())
}

#[test]
fn pods_are_scraped_under_the_names_that_alerts_ask_for() {
    let exporting = GROUPS.iter().flat_map(|group| group.services.iter().copied());
    let exporting: BTreeSet<String> = exporting.map(str::to_owned).collect();
    for overlay in OBSERVED {
        let objects = objects(overlay);
        let monitor = objects.iter().find(|object| object["kind"] == "PodMonitor");
        let monitor = &monitor.expect("a PodMonitor")["spec"];
        let [endpoint] = list(&monitor["podMetricsEndpoints"]) else { panic!("{monitor}") };
        let pods = objects.iter().map(|object| &object["spec"]["template"]);
        let scraped = pods.filter(|template| {
            template.is_object()
                && selects(&monitor["selector"], template)
                && has_port(template, &endpoint["port"])
        });
        let jobs: BTreeSet<String> = scraped.map(|template| job(endpoint, template)).collect();
        assert_eq!(jobs, exporting, "{overlay}");
        let asked = alerts::jobs();
        assert!(!asked.is_empty() && asked.is_subset(&jobs), "{overlay}: {asked:?} of {jobs:?}");
    }
}

#[test]
fn the_operator_loads_the_alerts_of_all_files_as_they_are() {
    let mut groups = Vec::new();
    for file in files("alerts", "yml") {
        let rules: Value = serde_saphyr::from_str(&read(&file))
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        groups.extend_from_slice(list(&rules["groups"]));
    }
    for overlay in OBSERVED {
        let objects = objects(overlay);
        let rules = objects.iter().find(|object| object["kind"] == "PrometheusRule");
        let rules = rules.expect("the operator loads alerts from a PrometheusRule alone");
        assert_eq!(list(&rules["spec"]["groups"]), groups, "{overlay}: run deploy/k8s/render");
    }
}
