//! Labelers that ask an endpoint: its key by reference, and a ledger that outlives the pod that paid.

use crate::overlay::{Overlay, list, text};
use serde_json::json;

/// A pod's ledger is its own, and stays for the pod that comes after it, also where there were fewer for a while.
pub fn labelers_keep_what_they_paid_for(overlay: &Overlay) {
    let labeler = &overlay.pods()["labeler"];
    assert_eq!(labeler.object["kind"], "StatefulSet");
    let spec = &labeler.object["spec"];
    let retained = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"], retained);
    let [ledger] = list(&spec["volumeClaimTemplates"]) else { panic!("{spec}") };
    assert_eq!(ledger["spec"]["accessModes"], json!(["ReadWriteOnce"]), "two pods, one ledger");
    // It has work for all of them at once.
    assert_eq!(spec["podManagementPolicy"], "Parallel");
}

/// It is where `api_key = { file = ... }` of docs/how-to/openai-endpoint.md looks, and may be missing.
pub fn labelers_have_the_endpoints_key(overlay: &Overlay) {
    let how_to = include_str!("../../docs/how-to/openai-endpoint.md");
    for (name, pods) in overlay.pods() {
        let mut volumes = list(&pods.spec()["volumes"]).iter();
        let secret = volumes.find(|volume| volume["secret"]["secretName"] == "endpoint");
        assert_eq!(secret.is_some(), name == "labeler", "{name}");
        let Some(volume) = secret else { continue };
        assert_eq!(volume["secret"]["optional"], true, "an endpoint may ask for no key");
        let [item] = list(&volume["secret"]["items"]) else { panic!("{volume}") };
        let mounts = pods.mounts();
        let mount = mounts[text(&volume["name"])];
        assert_eq!(mount["readOnly"], true);
        let file = format!("{}/{}", text(&mount["mountPath"]), text(&item["path"]));
        assert!(how_to.contains(&format!("{{ file = \"{file}\" }}")), "{file}");
    }
}
