//! What a pod may do, take and be, and that it may be evicted.

use crate::overlay::{Labels, Overlay, Pods, WORKERS, labels, list, text};
use serde_json::json;

/// What has no namespace would be made wherever the one who applies it happens to be.
pub fn everything_lies_in_our_namespace(overlay: &Overlay) {
    for object in overlay.objects().filter(|object| object["kind"] != "Namespace") {
        let metadata = &object["metadata"];
        assert_eq!(metadata["namespace"], "rlaif", "{} {}", object["kind"], metadata["name"]);
    }
}

/// Pod Security "restricted", enforced by the namespace, and more: a read-only root, no token of the API server.
pub fn every_pod_is_restricted(overlay: &Overlay) {
    let namespace = &overlay.get("Namespace", "rlaif")["metadata"]["labels"];
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(namespace[format!("pod-security.kubernetes.io/{mode}")], "restricted");
    }
    assert_eq!(overlay.get("ServiceAccount", "rlaif")["automountServiceAccountToken"], false);
    for (name, pods) in overlay.pods() {
        let (spec, security) = (pods.spec(), &pods.spec()["securityContext"]);
        assert_eq!(pods.object["metadata"]["namespace"], "rlaif", "{name}");
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        for id in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert!(
                security[id].as_u64() >= Some(10_000),
                "{name}: {id} may be somebody's of the node"
            );
        }
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        assert_eq!(spec["serviceAccountName"], "rlaif", "{name}");
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        for loophole in ["hostNetwork", "hostPID", "hostIPC", "ephemeralContainers"] {
            assert!(spec[loophole].is_null(), "{name} has {loophole}");
        }
        for volume in list(&spec["volumes"]) {
            let kinds = ["emptyDir", "persistentVolumeClaim", "projected", "secret"];
            let known =
                volume.as_object().unwrap().keys().all(|k| k == "name" || kinds.contains(&&**k));
            assert!(known, "{name} mounts {volume}");
            let tokens =
                list(&volume["projected"]["sources"]).iter().any(|s| s["secret"].is_null());
            assert!(!tokens, "{name}: more than secrets in {volume}");
        }
        let confined = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(pods.container()["securityContext"], confined, "{name}");
    }
}

pub fn everything_is_bounded(overlay: &Overlay) {
    for (name, pods) in overlay.pods() {
        let resources = &pods.container()["resources"];
        for bound in ["requests", "limits"] {
            for what in ["cpu", "memory"] {
                assert!(resources[bound][what].is_string(), "{name} has no {bound} of {what}");
            }
        }
        for volume in list(&pods.spec()["volumes"]) {
            let unbounded =
                volume["emptyDir"].is_object() && volume["emptyDir"]["sizeLimit"].is_null();
            assert!(!unbounded, "{name}: {volume}");
        }
    }
}

/// One pod of each may always go, ready or not.
pub fn no_disruption_budget_blocks_a_drain(overlay: &Overlay) {
    for (name, pods) in overlay.pods() {
        if name == "tools" {
            continue;
        }
        let budget = overlay.get("PodDisruptionBudget", name);
        let selected = labels(&budget["spec"]["selector"]["matchLabels"]);
        assert!(selects(&selected, &pods), "the budget of {name} is not its pods'");
        assert!(budget["spec"]["maxUnavailable"].as_u64() >= Some(1), "{name}: {budget}");
        assert!(budget["spec"]["minAvailable"].is_null(), "{name}");
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{name}");
    }
    let budgets = overlay.all("PodDisruptionBudget").count();
    assert_eq!(budgets, overlay.pods().len() - 1, "a budget of nothing");
}

pub fn workloads_select_their_own_pods(overlay: &Overlay) {
    let all = overlay.pods();
    for (name, pods) in &all {
        let selector = labels(&pods.object["spec"]["selector"]["matchLabels"]);
        for (other, others) in &all {
            assert_eq!(selects(&selector, others), name == other, "{name} selects {other}");
        }
    }
}

fn selects(selector: &Labels, pods: &Pods<'_>) -> bool {
    let labels = pods.labels();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Images as they are built on the spot, of this version.
pub fn images_are_of_this_version(overlay: &Overlay, worker_suffix: &str) {
    let ours = format!("rlaif:{}", env!("CARGO_PKG_VERSION"));
    for (name, pods) in overlay.pods() {
        let suffix = if WORKERS.contains(&name) { worker_suffix } else { "" };
        let expected = match name {
            "redis" => "redis:7.4-bookworm".to_owned(),
            _ => format!("{ours}{suffix}"),
        };
        assert_eq!(pods.container()["image"], expected, "{name}");
    }
}

/// A tag can be moved, a digest cannot. Until one is chosen there is nothing that could be pulled.
pub fn images_go_by_digest(overlay: &Overlay) {
    for (name, pods) in overlay.pods() {
        let image = text(&pods.container()["image"]);
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
        let whole = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(whole, "{name} is {image}");
        let chosen = digest.bytes().any(|b| b != b'0');
        assert_ne!(chosen, image.starts_with("image-is-not-chosen.invalid/"), "{name} is {image}");
    }
}
