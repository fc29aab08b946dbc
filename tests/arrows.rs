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
    ("ledger", &["types"]),
    ("proto", &["types"]),
    ("hub", &[]),
    ("models", &["types"]),
    ("template", &["types"]),
    ("openai", &["types"]),
    ("judge", &["types", "template", "models", "openai"]),
    ("clerk", &["types", "judge", "ledger"]),
    ("rl", &["types", "models"]),
    ("job", &["types", "template", "stats", "data", "report"]),
    ("audit", &["types", "stats", "report"]),
    ("contest", &["stats", "report"]),
    ("artifacts", &["types"]),
    ("queue", &[]),
    ("service", &[]),
    ("cluster", &["queue", "service"]),
    (
        "coordinator",
        &["types", "data", "report", "job", "artifacts", "queue", "proto", "service", "cluster"],
    ),
    (
        "worker",
        &[
            "types",
            "data",
            "hub",
            "models",
            "judge",
            "clerk",
            "ledger",
            "rl",
            "job",
            "artifacts",
            "queue",
            "proto",
            "service",
            "cluster",
        ],
    ),
    (
        "labeler",
        &["types", "template", "models", "judge", "clerk", "job", "proto", "service", "worker"],
    ),
    ("rollout", &["types", "data", "models", "job", "proto", "service", "worker"]),
    ("reward", &["types", "data", "models", "rl", "job", "proto", "service", "worker"]),
    ("learner", &["types", "data", "models", "rl", "job", "proto", "service", "worker"]),
    // Only for tests.
    ("testkit", &[]),
];

/// Crates that hold no tensors: they must not reach Burn.
const WITHOUT_BURN: &[&str] = &[
    "types",
    "template",
    "stats",
    "report",
    "audit",
    "contest",
    "data",
    "ledger",
    "job",
    "proto",
    "hub",
    "openai",
    "artifacts",
    "queue",
    "testkit",
    "cluster",
    "coordinator",
    "service",
];

/// Crates that pure computation must stay free of: sockets, queues, runtimes.
const NO_IO: &[&str] = &["tokio", "redis", "tonic", "hyper", "reqwest", "ureq", "hf-hub"];

/// Who may have them nevertheless, which, and why.
const IO: &[(&str, &[&str], &str)] = &[
    ("artifacts", &["tokio", "reqwest"], "buckets are known to the artifact store alone"),
    ("coordinator", &["tokio", "tonic"], "serves jobs and their page, and waits for queues"),
    ("hub", &["hf-hub"], "pulls models"),
    ("judge", &["tokio"], "waits for labelers that others serve"),
    ("openai", &["tokio", "reqwest"], "asks labelers that others serve"),
    ("proto", &["tonic"], "generated code, without transport"),
    ("queue", &["tokio", "redis"], "what is Redis is known to the queue alone"),
    ("labeler", &["tonic"], "answers direct callers"),
    ("learner", &["tokio", "tonic"], "answers who watches"),
    ("reward", &["tokio", "tonic"], "answers direct callers"),
    ("rlaif", &["tokio"], "the program"),
    ("rollout", &["tokio", "tonic"], "answers direct callers"),
    ("service", &["tokio", "tonic", "hyper"], "the network side of every service"),
    (
        "testkit",
        &["tokio", "redis", "tonic", "hyper"],
        "a Redis to kill, servers to fill and to fail",
    ),
    ("worker", &["tokio", "tonic"], "waits for the queue, answers direct callers"),
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

#[test]
fn what_needs_no_tensors_is_free_of_burn_and_sockets_are_where_they_belong() {
    let found = by_name();
    for name in WITHOUT_BURN {
        let burn = found[&format!("rlaif-{name}")].iter().find(|d| d.starts_with("burn"));
        assert!(burn.is_none(), "{name} depends on {burn:?}");
    }
    for (name, dependencies) in &found {
        let Some(name) = name.strip_prefix("rlaif-") else { continue };
        let excepted = IO.iter().find(|(excepted, ..)| *excepted == name);
        let allowed = excepted.map_or(&[][..], |(_, io, _)| io);
        for io in NO_IO.iter().filter(|io| !allowed.contains(io)) {
            assert!(!dependencies.contains(*io), "{name} depends on {io}");
        }
        assert!(!dependencies.contains("rlaif-testkit"), "{name} depends on what is for tests");
    }
}
