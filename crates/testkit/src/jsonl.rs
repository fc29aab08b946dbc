//! Files of records.

use serde_json::Value;
use std::borrow::Borrow;
use std::path::Path;

/// Writes `records` to `path`, a line each.
///
/// # Panics
/// When the file cannot be written.
pub fn write_jsonl(path: &Path, records: impl IntoIterator<Item = impl Borrow<Value>>) {
    let mut lines = String::new();
    for record in records {
        let record: &Value = record.borrow();
        lines += &format!("{record}\n");
    }
    std::fs::write(path, lines).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
