//! Which files of a repository make a model: configuration, tokenizer, safetensors. Nothing else is
//! fetched, and nothing that runs code when it is read.

use crate::Error;
use crate::remote::{Listing, RemoteFile};
use crate::spec::is_plain;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Lists the shards of a large model.
pub const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
const OPTIONAL: [&str; 3] =
    ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"];

/// File names that an error shows at most.
const MAX_SHOWN: usize = 8;

/// The files to fetch first: all but the shards, which the index among them names.
///
/// # Errors
/// When something is missing without which there is no model.
pub fn first_files(listing: &Listing) -> Result<Vec<&RemoteFile>, Error> {
    let weights = if listing.get(INDEX).is_some() { INDEX } else { WEIGHTS };
    let mut files = Vec::new();
    for name in REQUIRED.into_iter().chain([weights]) {
        files.push(listing.get(name).ok_or_else(|| missing(listing, name))?);
    }
    files.extend(OPTIONAL.iter().filter_map(|name| listing.get(name)));
    Ok(files)
}

/// The shards that the text of an index names.
///
/// # Errors
/// When it is no index, or names a file that is not there.
pub fn shards<'a>(listing: &'a Listing, index: &[u8]) -> Result<Vec<&'a RemoteFile>, Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unusable = |what: String| Error::Unusable { repository: listing.repository.clone(), what };
    let index: Index =
        serde_json::from_slice(index).map_err(|e| unusable(format!("{INDEX}: {e}")))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let file = |name: &String| {
        let found =
            listing.get(name).filter(|f| is_plain(name) && f.path.ends_with(".safetensors"));
        found.ok_or_else(|| unusable(format!("{INDEX} names {name:?}, which it does not hold")))
    };
    names.iter().map(file).collect()
}

/// The GGUF file `path`.
///
/// # Errors
/// When it is not there; the message names those that are.
pub fn gguf<'a>(listing: &'a Listing, path: &str) -> Result<&'a RemoteFile, Error> {
    listing.get(path).ok_or_else(|| Error::NotFound {
        repository: listing.repository.clone(),
        what: format!("no file {path}; {}", ggufs(listing)),
    })
}

fn missing(listing: &Listing, name: &str) -> Error {
    let mut what = format!("it holds no {name}; {}", ggufs(listing));
    let is_pickle = |path: &str| path.ends_with(".bin") || path.ends_with(".pth");
    if name == WEIGHTS && listing.files.iter().any(|f| is_pickle(&f.path)) {
        what = format!("it holds no {name}, only pickled weights, which are not loaded");
    }
    Error::Unusable { repository: listing.repository.clone(), what }
}

/// The GGUF files of a repository, for a message.
fn ggufs(listing: &Listing) -> String {
    let mut found: Vec<&str> =
        listing.files.iter().map(|f| f.path.as_str()).filter(|p| p.ends_with(".gguf")).collect();
    if found.is_empty() {
        return "and no .gguf file".into();
    }
    let more = found.len().saturating_sub(MAX_SHOWN);
    found.truncate(MAX_SHOWN);
    let example = format!("hf:{}/{}", listing.repository, found[0]);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("it holds {}{more}: name one, like {example}", found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Expected;

    fn listing(names: &[&str]) -> Listing {
        let file = |name: &&str| RemoteFile {
            path: (*name).into(),
            bytes: 1,
            hash: Expected::GitBlob(String::new()),
        };
        Listing {
            repository: "owner/name".into(),
            commit: "c".into(),
            files: names.iter().map(file).collect(),
        }
    }

    fn names(files: &[&RemoteFile]) -> Vec<String> {
        files.iter().map(|f| f.path.clone()).collect()
    }

    #[test]
    fn only_what_makes_a_model_is_fetched() {
        let listing = listing(&[
            "README.md",
            "config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "original/consolidated.00.pth",
        ]);
        let found = names(&first_files(&listing).unwrap());
        let expected =
            ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"];
        assert_eq!(found, expected);
    }

    #[test]
    fn shards_are_those_of_the_index() {
        let listing =
            listing(&[INDEX, "a.safetensors", "b.safetensors", "consolidated.safetensors"]);
        let index = br#"{"weight_map":
            {"x": "b.safetensors", "y": "a.safetensors", "z": "a.safetensors"}}"#;
        assert_eq!(names(&shards(&listing, index).unwrap()), ["a.safetensors", "b.safetensors"]);
    }

    #[test]
    fn an_index_cannot_name_files_elsewhere_or_of_another_kind() {
        let listing = listing(&["../evil.safetensors", "code.bin"]);
        for name in ["../evil.safetensors", "code.bin", "absent.safetensors"] {
            let index = format!(r#"{{"weight_map": {{"x": "{name}"}}}}"#);
            assert!(shards(&listing, index.as_bytes()).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_there_is_instead() {
        let pickled = listing(&["config.json", "tokenizer.json", "pytorch_model.bin"]);
        let error = first_files(&pickled).unwrap_err().to_string();
        assert!(error.contains("pickled"), "{error}");
        let quantised = listing(&["m.Q4_1.gguf"]);
        let error = first_files(&quantised).unwrap_err().to_string();
        assert!(error.contains("hf:owner/name/m.Q4_1.gguf"), "{error}");
        let error = gguf(&quantised, "m.Q8_0.gguf").unwrap_err().to_string();
        assert!(error.contains("m.Q4_1.gguf"), "{error}");
    }
}
