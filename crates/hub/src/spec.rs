//! `hf:owner/name[/file.gguf][@revision]`: what it says, and where on disk that lies.
//!
//! The path is the specification, so that a person finds a model with `ls`:
//!
//! | specification | below the store |
//! |---|---|
//! | `hf:owner/name@v1` | `hf/owner/name@v1/` |
//! | `hf:owner/name/q4/file.gguf@v1` | `hf/owner/name/v1/q4/file.gguf` |

use crate::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// What an `hf:` specification begins with.
pub const PREFIX: &str = "hf:";

/// The revision meant where none is given.
const MAIN: &str = "main";

/// Longest part between two slashes: the hub's own limit for a repository's name.
const MAX_PART_LEN: usize = 96;

/// A model on the Hugging Face hub: a repository, or one GGUF file of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubSpec {
    /// `owner/name`.
    pub repository: String,
    /// The GGUF file; none means the repository's safetensors.
    pub file: Option<String>,
    /// Branch, tag or commit.
    pub revision: String,
}

impl HubSpec {
    /// Reads `hf:owner/name[/file.gguf][@revision]`.
    ///
    /// # Errors
    /// When a part is missing, or could leave the store's folder or the hub's address.
    pub fn parse(spec: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::BadSpec { spec: spec.into(), what: what.into() };
        let body = spec.strip_prefix(PREFIX).ok_or_else(|| bad("it does not begin with hf:"))?;
        let (path, revision) = body.split_once('@').unwrap_or((body, MAIN));
        if revision.ends_with(".gguf") {
            return Err(bad("write the revision last: hf:owner/name/file.gguf@revision"));
        }
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() < 2 {
            return Err(bad("expected hf:owner/name or hf:owner/name/file.gguf"));
        }
        if parts.iter().copied().chain(revision.split('/')).any(|part| !is_plain(part)) {
            return Err(bad(
                "names have letters, digits, '.', '_', '-' and '+' only, and do not begin with '.'",
            ));
        }
        let file = (parts.len() > 2).then(|| parts[2..].join("/"));
        if file.as_ref().is_some_and(|file| !file.ends_with(".gguf")) {
            return Err(bad("a single file must be a .gguf; for a folder give hf:owner/name"));
        }
        Ok(Self { repository: parts[..2].join("/"), file, revision: revision.into() })
    }

    /// Where it lies below the store's folder.
    pub fn path(&self) -> PathBuf {
        // A revision like refs/pr/1 is one folder; '%' is in no name, so this can be undone.
        let revision = self.revision.replace('/', "%2F");
        let place = match &self.file {
            Some(file) => format!("{}/{revision}/{file}", self.repository),
            None => format!("{}@{revision}", self.repository),
        };
        Path::new("hf").join(place)
    }

    /// The specification of what lies at `path` below the store's `hf` folder, if it is one of ours.
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        let path = path.to_str()?.replace("%2F", "\0");
        let spec = match path.split('/').collect::<Vec<_>>().as_slice() {
            [_owner, name] if name.contains('@') => format!("{PREFIX}{path}"),
            [owner, name, revision, file @ ..] if !file.is_empty() => {
                format!("{PREFIX}{owner}/{name}/{}@{revision}", file.join("/"))
            }
            _ => return None,
        };
        Self::parse(&spec.replace('\0', "/")).ok()
    }
}

impl fmt::Display for HubSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.repository)?;
        if let Some(file) = &self.file {
            write!(f, "/{file}")?;
        }
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// True when `part` may stand between two slashes of a path and of an address.
pub(crate) fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= MAX_PART_LEN
        && !part.starts_with('.')
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_found_again_from_its_place_on_disk() {
        for text in [
            "hf:owner/name",
            "hf:owner/name@v1.0",
            "hf:owner/name@refs/pr/1",
            "hf:owner/name/model.Q4_1.gguf",
            "hf:owner/name/q4/model.gguf@refs/pr/1",
        ] {
            let spec = HubSpec::parse(text).unwrap();
            assert_eq!(spec.to_string(), text);
            let below = spec.path();
            assert_eq!(HubSpec::from_path(below.strip_prefix("hf").unwrap()), Some(spec));
        }
    }

    #[test]
    fn the_main_branch_is_meant_where_no_revision_is_given() {
        assert_eq!(HubSpec::parse("hf:a/b").unwrap(), HubSpec::parse("hf:a/b@main").unwrap());
    }

    #[test]
    fn a_repository_and_its_files_do_not_share_a_place() {
        let folder = HubSpec::parse("hf:a/b").unwrap().path();
        let file = HubSpec::parse("hf:a/b/c.gguf").unwrap().path();
        assert!(!file.starts_with(folder));
    }

    #[test]
    fn names_that_could_leave_the_folder_or_the_address_are_refused() {
        for text in [
            "hf:",
            "hf:name",
            "hf:/name",
            "hf:owner/",
            "hf:owner/..",
            "hf:../name/x.gguf",
            "hf:owner/name/../../x.gguf",
            "hf:owner/name//x.gguf",
            "hf:owner/name?x=1",
            "hf:owner/name@",
            "hf:owner/name@a/../b",
            "hf:owner/na me",
            "hf:owner/name/pytorch_model.bin",
        ] {
            let error = HubSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        let error = HubSpec::parse("hf:owner/name@v1/x.gguf").unwrap_err().to_string();
        assert!(error.contains("revision last"), "{error}");
    }
}
