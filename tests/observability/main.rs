//! Dashboards, alerts and the reference of metrics, held against what the services say that they export.
//! Whether alerts fire when they should, promtool knows: `deploy/observability/check`. Whether the services
//! keep their word, the cluster's own test (`tests/cluster/metrics.rs`).

mod alerts;
mod compose;
mod dashboards;
mod kubernetes;
mod query;
mod reference;

use std::path::{Path, PathBuf};

/// A file of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files of a folder of `deploy/observability`, by extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = root("deploy/observability").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}
