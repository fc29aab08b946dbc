//! GPUs, and how many labelers there are.

use crate::overlay::{Overlay, WORKERS, list};
use rlaif_job::WorkerKind;
use serde_json::json;

/// Each worker has a GPU of its own, and none waits for one that its predecessor holds.
pub fn workers_have_a_gpu_each(overlay: &Overlay) {
    for (name, pods) in overlay.pods() {
        let gpus = &pods.container()["resources"]["limits"]["nvidia.com/gpu"];
        if !WORKERS.contains(&name) {
            assert!(gpus.is_null(), "{name} has no use for a GPU");
            continue;
        }
        assert_eq!(*gpus, 1, "{name}");
        let environment = pods.environment();
        assert_eq!(environment["RLAIF__WORKER__DEVICE"], "cuda:0", "{name}");
        // Kernels that cannot be kept are compiled and tuned anew for every process.
        for cache in ["CUDA_CACHE_PATH", "XDG_CACHE_HOME"] {
            let folder = &environment[cache];
            assert!(pods.writable(folder).is_some(), "{name} cannot write {cache}, {folder}");
        }
        let tolerated =
            list(&pods.spec()["tolerations"]).iter().any(|t| t["key"] == "nvidia.com/gpu");
        assert!(tolerated, "{name} is kept off GPU nodes");
        if pods.object["kind"] == "Deployment" {
            let update = &pods.object["spec"]["strategy"]["rollingUpdate"];
            assert_eq!(*update, json!({ "maxSurge": 0, "maxUnavailable": 1 }), "{name}");
        }
    }
}

/// While its pods are replaced, one after the other, one of them answers direct callers.
pub fn reward_answers_while_it_is_replaced(overlay: &Overlay) {
    let reward = &overlay.pods()["reward"].object["spec"];
    let replicas = reward["replicas"].as_u64().expect("a number");
    let away = reward["strategy"]["rollingUpdate"]["maxUnavailable"].as_u64().expect("a number");
    assert!(replicas > away, "of {replicas}, {away} may be away");
}

pub fn workers_have_no_gpu(overlay: &Overlay) {
    for (name, pods) in overlay.pods() {
        let gpus = &pods.container()["resources"]["limits"]["nvidia.com/gpu"];
        assert!(gpus.is_null() && pods.spec()["tolerations"].is_null(), "{name}");
        assert!(!pods.environment().contains_key("RLAIF__WORKER__DEVICE"), "{name}");
    }
}

/// One pod at a time has the journal or a checkpoint; Kubernetes never starts a second beside it.
pub fn what_is_alone_stays_alone(overlay: &Overlay) {
    for name in ["coordinator", "learner"] {
        let object = overlay.pods()[name].object;
        assert_eq!(
            (&object["kind"], &object["spec"]["replicas"]),
            (&json!("StatefulSet"), &json!(1))
        );
    }
}

pub fn labelers_are_as_many_as_is_said(overlay: &Overlay) {
    assert_eq!(overlay.all("ScaledObject").count(), 0);
    assert!(overlay.pods()["labeler"].object["spec"]["replicas"].is_u64());
}

/// KEDA reads the length of the labelers' stream, which is the work that is unfinished: crates/queue shows that. A
/// consumer group would make it read something else.
pub fn keda_scales_labelers_with_the_work_to_none_and_back(overlay: &Overlay) {
    let scaled = &overlay.get("ScaledObject", "labeler")["spec"];
    let reference = &scaled["scaleTargetRef"];
    let target = overlay.pods()["labeler"].object;
    for (what, of_target) in [
        ("apiVersion", &target["apiVersion"]),
        ("kind", &target["kind"]),
        ("name", &target["metadata"]["name"]),
    ] {
        assert_eq!(&reference[what], of_target, "{what}");
    }
    assert_eq!(scaled["minReplicaCount"], 0);
    assert!(scaled["maxReplicaCount"].as_u64() > Some(1));
    // Applying the manifests again would undo what KEDA did.
    assert!(target["spec"]["replicas"].is_null());

    let [trigger] = list(&scaled["triggers"]) else { panic!("{scaled}") };
    assert_eq!(trigger["type"], "redis-streams");
    let metadata = trigger["metadata"].as_object().unwrap();
    assert_eq!(metadata["stream"], format!("{{rlaif:{}}}:work", WorkerKind::Labeler.queue()));
    let target: u64 = metadata["streamLength"].as_str().unwrap().parse().unwrap();
    assert!(target > 0, "{target}");
    // `activationLagCount` would leave that much work undone.
    for wrong in ["consumerGroup", "pendingEntriesCount", "lagCount", "activationLagCount"] {
        assert!(!metadata.contains_key(wrong), "{wrong}");
    }

    // Where Redis is and who asks come from the secret that the services have.
    let name = trigger["authenticationRef"]["name"].as_str().unwrap();
    let authentication = &overlay.get("TriggerAuthentication", name)["spec"]["secretTargetRef"];
    let key = |what: &str| json!({ "parameter": what, "name": "queue", "key": what });
    assert_eq!(list(authentication)[..3], ["address", "username", "password"].map(key));
}
