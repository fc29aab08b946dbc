//! Pages of `docs/reference` that are written from code, and that are what the code says. After a change:
//! `docs/reference/write`. The page of commands is written beside
//! them (`services/rlaif/src/commands/reference.rs`), that of metrics in `tests/observability`.

mod jobs;
mod protos;
mod settings;
mod source;

use std::path::{Path, PathBuf};

/// A file of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// All files with this extension below a folder of the repository.
fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

/// The page is what the code says; it is written where that was asked for.
#[track_caller]
fn check(name: &str, page: &str) {
    let path = root("docs/reference").join(name);
    if std::env::var_os("RLAIF_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is not what the code says; write it anew: docs/reference/write"
    );
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
