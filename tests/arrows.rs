//! Dependencies between our crates point one way; a new arrow is a design decision, made here and
//! in ARCHITECTURE.md.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};

/// Each crate and what it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("stats", &[]),
    ("report", &[]),
    ("data", &["types"]),
    ("models", &["types"]),
    ("template", &["types"]),
    ("judge", &["types", "template", "models"]),
    ("rl", &["types", "models"]),
    ("job", &["types", "template", "stats", "data", "report"]),
    ("artifacts", &["types", "job"]),
    ("worker", &["types", "data", "artifacts", "job", "models", "judge", "rl"]),
    ("rollout", &["types", "job", "models", "worker"]),
    ("labeler", &["types", "template", "job", "judge", "worker"]),
    ("reward", &["types", "data", "job", "models", "rl", "worker"]),
    ("learner", &["types", "data", "job", "models", "rl", "worker"]),
    ("pipeline", &["types", "template", "data", "models", "judge", "rl", "job"]),
];

/// Crates that hold no tensors: they must not reach Burn.
const WITHOUT_BURN: &[&str] = &["types", "template", "stats", "report", "data", "job", "artifacts"];

/// Crates that pure computation must stay free of: sockets, queues, runtimes.
const NO_IO: &[&str] = &["tokio", "redis", "tonic", "hyper", "reqwest", "ureq"];

/// Who may have some of them nevertheless, and which: buckets are known to the artifact store alone.
const IO: &[(&str, &[&str])] = &[("artifacts", &["tokio", "reqwest"]), ("worker", &["tokio"])];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    metadata.packages
}

/// Normal and build dependencies of each package.
fn dependencies(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|d| d.kind != DependencyKind::Development)
        .map(|d| d.name.clone())
        .collect()
}

fn by_name() -> BTreeMap<String, BTreeSet<String>> {
    packages().iter().map(|p| (p.name.to_string(), dependencies(p))).collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let found = by_name();
    for (name, allowed) in ARROWS {
        let ours = found[&format!("rlaif-{name}")].iter().filter_map(|d| d.strip_prefix("rlaif-"));
        for dependency in ours {
            assert!(allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
    let known: BTreeSet<String> = ARROWS.iter().map(|(name, _)| format!("rlaif-{name}")).collect();
    for name in found.keys().filter(|n| n.starts_with("rlaif-") && *n != "rlaif-workspace") {
        assert!(known.contains(name), "{name} has no arrows: add it here and to ARCHITECTURE.md");
    }
}

#[test]
fn what_needs_no_tensors_is_free_of_burn_and_sockets_are_opened_where_they_belong() {
    let found = by_name();
    for name in WITHOUT_BURN {
        let burn = found[&format!("rlaif-{name}")].iter().find(|d| d.starts_with("burn"));
        assert!(burn.is_none(), "{name} depends on {burn:?}");
    }
    for (name, dependencies) in found.iter().filter(|(n, _)| n.starts_with("rlaif-")) {
        let allowed = IO.iter().find(|(allowed, _)| name.strip_prefix("rlaif-") == Some(*allowed));
        let allowed = allowed.map_or(&[][..], |(_, allowed)| *allowed);
        for io in NO_IO.iter().filter(|io| !allowed.contains(io)) {
            assert!(!dependencies.contains(*io), "{name} depends on {io}");
        }
    }
}
