//! deploy/k8s/rendered, one test an overlay: what a platform team relies on, as a list of rules. Neither a cluster nor
//! kubectl is needed; schemas and linters are deploy/k8s/check's.

mod confinement;
mod endpoint;
mod network;
mod overlay;
mod rights;
mod running;
mod scaling;
mod settings;

use confinement::*;
use endpoint::*;
use overlay::{Overlay, SERVICES, root};
use rlaif_types::ContentHash;
use scaling::*;
use settings::*;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn holds_for_every_overlay(overlay: &Overlay) -> Told<'_> {
    everything_lies_in_our_namespace(overlay);
    every_pod_is_restricted(overlay);
    everything_is_bounded(overlay);
    no_disruption_budget_blocks_a_drain(overlay);
    workloads_select_their_own_pods(overlay);
    secrets_go_by_reference(overlay);
    network::all_is_denied_by_default(overlay);
    network::all_addresses_are_without_those_of_nodes_and_pods(overlay);
    what_is_alone_stays_alone(overlay);
    let told = Told::accepted_by_every_service(overlay);
    told.ports_are_where_services_listen();
    told.addresses_lead_to_ports();
    told.the_page_is_where_a_forwarded_port_leads();
    told.probes_ask_the_three_health_services();
    told.services_are_given_the_time_that_they_take_to_end();
    told.everything_written_lies_in_a_volume();
    told.all_meet_at_the_same_places();
    told
}

fn holds_on_cpus(overlay: &Overlay) {
    let told = holds_for_every_overlay(overlay);
    told.servers_ask_who_calls(false);
    redis_keeps_what_the_queue_promises(overlay);
    images_are_of_this_version(overlay, "");
    workers_have_no_gpu(overlay);
    reward_answers_while_it_is_replaced(overlay);
}

#[test]
fn cpu() {
    let overlay = Overlay::read("cpu");
    holds_on_cpus(&overlay);
    labelers_are_as_many_as_is_said(&overlay);
    only_these_ways_are_open(&overlay, &[]);
}

/// On CPUs, labelers asking an endpoint of somebody else.
#[test]
fn endpoint() {
    let overlay = Overlay::read("endpoint");
    holds_on_cpus(&overlay);
    labelers_are_as_many_as_is_said(&overlay);
    labelers_have_the_endpoints_key(&overlay);
    labelers_keep_what_they_paid_for(&overlay);
    only_these_ways_are_open(&overlay, &["labeler -> outside:443"]);
}

/// The same, as many of them as there is work for: one that comes back from none finds its ledger.
#[test]
fn endpoint_keda() {
    let overlay = Overlay::read("endpoint-keda");
    holds_on_cpus(&overlay);
    keda_scales_labelers_with_the_work_to_none_and_back(&overlay);
    labelers_have_the_endpoints_key(&overlay);
    labelers_keep_what_they_paid_for(&overlay);
    only_these_ways_are_open(&overlay, &["labeler -> outside:443", "keda -> redis:6379"]);
}

#[test]
fn gpu() {
    let overlay = Overlay::read("gpu");
    let told = holds_for_every_overlay(&overlay);
    told.servers_ask_who_calls(false);
    redis_keeps_what_the_queue_promises(&overlay);
    images_are_of_this_version(&overlay, "-cuda");
    workers_have_a_gpu_each(&overlay);
    labelers_are_as_many_as_is_said(&overlay);
    only_these_ways_are_open(&overlay, &[]);
}

#[test]
fn production() {
    let overlay = Overlay::read("production");
    let told = holds_for_every_overlay(&overlay);
    told.servers_ask_who_calls(true);
    redis_keeps_what_the_queue_promises(&overlay);
    images_go_by_digest(&overlay);
    workers_have_a_gpu_each(&overlay);
    reward_answers_while_it_is_replaced(&overlay);
    keda_scales_labelers_with_the_work_to_none_and_back(&overlay);
    only_these_ways_are_open(&overlay, &[OBSERVED, &["keda -> redis:6379"]].concat());
}

/// Production where Redis and the artifacts are somebody else's.
#[test]
fn managed() {
    let overlay = Overlay::read("managed");
    let told = holds_for_every_overlay(&overlay);
    told.servers_ask_who_calls(true);
    images_go_by_digest(&overlay);
    workers_have_a_gpu_each(&overlay);
    reward_answers_while_it_is_replaced(&overlay);
    keda_scales_labelers_with_the_work_to_none_and_back(&overlay);
    a_redis_of_somebody_else_is_found_and_trusted(&overlay);
    assert!(!overlay.pods().contains_key("redis"));
    only_these_ways_are_open(
        &overlay,
        &[OBSERVED, &["SERVICE -> outside:6379", "SERVICE -> outside:443"]].concat(),
    );
}

/// Ways of observability; SERVICE stands for each of ours.
const OBSERVED: &[&str] = &["observability -> SERVICE:9464", "SERVICE -> observability:4317"];

fn only_these_ways_are_open(overlay: &Overlay, further: &[&str]) {
    let mut expected = vec![
        "SERVICE -> redis:6379",
        // Who proves itself by TLS and a token, wherever it runs.
        "client -> coordinator:7400",
        "client -> reward:7400",
        "tools -> coordinator:7400",
        "tools -> reward:7400",
        "tools -> outside:443",
        // Also what somebody else starts in our namespace can look names up, and nothing else.
        "stranger-beside -> names:53",
        "stranger-beside -> names-of-the-node:53",
    ];
    expected.extend(further);
    let pods: Vec<&str> = overlay.pods().into_keys().collect();
    let of_each =
        |pod: &&str| ["names", "names-of-the-node"].map(|who| format!("{pod} -> {who}:53"));
    let names: Vec<String> = pods.iter().flat_map(of_each).collect();
    expected.extend(names.iter().map(String::as_str));
    if !pods.contains(&"redis") {
        expected.retain(|way| !way.ends_with("redis:6379"));
    }
    let each =
        expected.iter().flat_map(|way| SERVICES.map(|service| way.replace("SERVICE", service)));
    assert_eq!(network::open_ways(overlay), each.collect::<BTreeSet<_>>());
}

/// Also where there is no kubectl.
#[test]
fn nothing_was_changed_since_the_overlays_were_rendered() {
    let folder = root().join("deploy/k8s");
    let mut folders = Vec::from(["base", "components", "overlays"].map(PathBuf::from));
    let mut now = BTreeSet::new();
    while let Some(inside) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&inside)).unwrap() {
            let entry = entry.unwrap();
            let path = inside.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                let hash = ContentHash::of(std::fs::read(entry.path()).unwrap());
                now.insert(format!("{hash}  {}", path.display()));
            }
        }
    }
    // As sha256sum writes it.
    let noted = std::fs::read_to_string(folder.join("rendered/inputs.sha256")).unwrap();
    let noted: BTreeSet<String> = noted.lines().map(str::to_owned).collect();
    let changed: Vec<&String> = now.symmetric_difference(&noted).collect();
    assert!(changed.is_empty(), "run deploy/k8s/render, which has not seen {changed:#?}");
}

#[test]
fn what_is_committed_is_what_the_overlays_render_to() {
    let rendered = tempfile::tempdir().unwrap();
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!(
            "SKIPPED: without kubectl the overlays cannot be rendered; only that nothing was changed since is seen"
        );
        return;
    }
    let script = root().join("deploy/k8s/render");
    let ran = Command::new(script).arg(rendered.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let files = |folder: &std::path::Path| -> Vec<(String, String)> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut files: Vec<_> = entries
            .map(|e| {
                (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let (committed, fresh) = (files(&root().join("deploy/k8s/rendered")), files(rendered.path()));
    let names =
        |files: &[(String, String)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&fresh));
    for ((name, committed), (_, fresh)) in committed.iter().zip(&fresh) {
        assert!(committed == fresh, "{name} is out of date; run deploy/k8s/render");
    }
}
