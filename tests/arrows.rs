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
    ("judge", &["types", "models"]),
    ("rl", &["types", "models"]),
    ("pipeline", &["types", "stats", "data", "models", "judge", "rl", "report"]),
    ("service", &[]),
];

/// Crates that hold no tensors: they must not reach Burn.
const WITHOUT_BURN: &[&str] = &["types", "stats", "report", "data", "service"];

/// Crates that pure computation must stay free of: sockets, queues, runtimes.
const NO_IO: &[&str] = &["tokio", "redis", "tonic", "hyper", "reqwest", "ureq"];

/// Who may use what others must stay free of: crate, dependency, reason.
const IO_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("service", "tokio", "it is the runtime side of every network service"),
    ("service", "tonic", "it builds their servers and channels"),
    ("service", "hyper", "for the metrics endpoint"),
];

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

fn is_excepted(name: &str, io: &str) -> bool {
    IO_EXCEPTIONS.iter().any(|(of, what, _)| name == format!("rlaif-{of}") && *what == io)
}

#[test]
fn what_needs_no_tensors_is_free_of_burn_and_no_crate_opens_sockets() {
    let found = by_name();
    for name in WITHOUT_BURN {
        let burn = found[&format!("rlaif-{name}")].iter().find(|d| d.starts_with("burn"));
        assert!(burn.is_none(), "{name} depends on {burn:?}");
    }
    for (name, dependencies) in found.iter().filter(|(n, _)| n.starts_with("rlaif-")) {
        for io in NO_IO.iter().filter(|io| !is_excepted(name, io)) {
            assert!(!dependencies.contains(*io), "{name} depends on {io}");
        }
    }
}
