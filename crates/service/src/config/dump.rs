//! The resolved configuration as commented TOML, for `--dump-config` and for a run's records.

use serde::Serialize;
use toml_edit::{DocumentMut, Item, Table, Value};

/// `config` written over the text of its `defaults`, whose comments and order stay.
///
/// # Errors
/// When `defaults` are not TOML or `config` cannot be written as TOML (a map with keys that are not
/// strings).
pub fn dump(defaults: &[&str], config: &impl Serialize) -> Result<String, toml_edit::ser::Error> {
    let mut document = DocumentMut::new();
    // A layer's last comments belong to no table of it that could carry them.
    let mut last_comments = "";
    for (number, text) in defaults.iter().enumerate() {
        let mut layer = format!("{last_comments}{text}").parse::<DocumentMut>()?;
        move_behind(layer.as_table_mut(), number as isize * TABLES_OF_A_LAYER);
        lay_over(document.as_table_mut(), layer.as_table());
        last_comments = comments_at_the_end(text);
    }
    document.set_trailing(last_comments);
    let resolved = toml_edit::ser::to_document(config)?;
    overwrite(document.as_table_mut(), resolved.as_table());
    Ok(document.to_string())
}

/// More than any layer has.
const TABLES_OF_A_LAYER: isize = 1000;

/// Tables are written in the order of their positions, which each layer counts from 0. A comment stands with
/// the table after it: one among those of another layer would take it away from what it is about.
fn move_behind(table: &mut Table, by: isize) {
    for (_, item) in table.iter_mut() {
        if let Item::Table(section) = item {
            section.set_position(section.position().map(|position| position + by));
            move_behind(section, by);
        }
    }
}

/// The last lines that are comments or empty.
fn comments_at_the_end(text: &str) -> &str {
    let is_comment = |line: &str| line.trim().is_empty() || line.starts_with('#');
    let comments = text.split_inclusive('\n').rev().take_while(|line| is_comment(line));
    &text[text.len() - comments.map(str::len).sum::<usize>()..]
}

/// Adds a further layer of defaults with its comments.
fn lay_over(table: &mut Table, layer: &Table) {
    for (name, new) in layer {
        match (table.get_mut(name), new) {
            (Some(Item::Table(section)), Item::Table(new)) => lay_over(section, new),
            // A key has its comment with it, so the old key goes.
            _ => {
                table.remove(name);
                if let Some((key, _)) = layer.get_key_value(name) {
                    table.insert_formatted(key, new.clone());
                }
            }
        }
    }
}

fn overwrite(table: &mut Table, resolved: &Table) {
    let gone: Vec<String> =
        table.iter().map(|(k, _)| k.to_owned()).filter(|k| !resolved.contains_key(k)).collect();
    for key in gone {
        table.remove(&key);
    }
    for (key, new) in resolved {
        match (table.get_mut(key), new.clone().into_table()) {
            (Some(Item::Table(section)), Ok(new)) => overwrite(section, &new),
            (Some(Item::Value(old)), _) => replace(old, new),
            (_, Ok(new)) if !is_small(&new) => _ = table.insert(key, Item::Table(new)),
            _ => _ = table.insert(key, new.clone()),
        }
    }
}

/// Replaces a value where it differs, so that `1_000` stays as it was written; the comment behind
/// it stays in any case.
fn replace(old: &mut Value, new: &Item) {
    let Some(new) = new.as_value() else { return };
    if plain(old) == plain(new) {
        return;
    }
    let decor = old.decor().clone();
    *old = new.clone();
    *old.decor_mut() = decor;
}

/// How a value is written without the author's formatting.
fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => format!("{:?}", s.value()),
        Value::Integer(i) => i.value().to_string(),
        Value::Float(f) => f.value().to_string(),
        Value::Boolean(b) => b.value().to_string(),
        Value::Datetime(d) => d.value().to_string(),
        Value::Array(a) => a.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::InlineTable(t) => {
            t.iter().map(|(k, v)| format!("{k}={}", plain(v))).collect::<Vec<_>>().join(",")
        }
    }
}

/// A table of one plain value reads best on one line: `{ file = "..." }`.
fn is_small(table: &Table) -> bool {
    table.len() == 1 && table.iter().all(|(_, item)| item.is_value() && !item.is_inline_table())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stay_behind_the_table_that_they_are_about_whichever_layer_comes_after() {
        let layers = [
            "# All.\n\n[a]\nx = 1_000\n\n[a.b]\n# y = 2\n\n[c]\nz = 3\n\n# [c.d]\n# e = 4\n",
            "\n# More.\n\n[f]\n# g = 5\n\n[h]\ni = 6\n# j = 7\n",
        ];
        let config: toml::Table = toml::from_str(&layers.concat()).unwrap();
        assert_eq!(dump(&layers, &config).unwrap(), layers.concat());
    }
}
