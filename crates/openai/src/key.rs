//! The key of an endpoint: a configuration names only where it is kept, and no message shows it.

use crate::error::Error;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What is shown instead.
const STARS: &str = "***";

/// Where the key is kept: `{ env = "OPENAI_API_KEY" }` or `{ file = "/run/secrets/key" }`. The key
/// itself cannot be written down, so a saved job or a dumped configuration never holds it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// In an environment variable of this name.
    Env(String),
    /// In this file; white space around it is cut off.
    File(PathBuf),
}

impl Key {
    pub(crate) fn read(&self) -> Result<Secret, Error> {
        let (place, text) = match self {
            Self::Env(name) => {
                let text = std::env::var(name).map_err(|_| Error::Variable(name.clone()))?;
                (format!("the environment variable {name}"), text)
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
                (path.display().to_string(), text)
            }
        };
        let secret = Secret(text.trim().to_owned());
        match secret.header() {
            Some(_) if !secret.0.is_empty() => Ok(secret),
            _ => Err(Error::Key(place)),
        }
    }
}

/// The key.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl Secret {
    /// The value of `Authorization`; none when it has characters that no header can hold.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` with stars in the key's place.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, STARS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_place_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-secret\n").unwrap();
        let secret = Key::File(file).read().unwrap();
        assert_eq!(secret.header().unwrap(), "Bearer sk-secret");
        assert_eq!(format!("{secret:?} {:?}", secret.header()), "*** Some(Sensitive)");
        assert_eq!(secret.redact("bad key sk-secret"), "bad key ***");
    }

    #[test]
    fn a_missing_or_unusable_key_is_an_error_that_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "\n").unwrap();
        let two_lines = folder.path().join("two_lines");
        std::fs::write(&two_lines, "sk-secret\nsk-other").unwrap();
        for (key, says) in [
            (Key::Env("RLAIF_TEST_NO_SUCH_KEY".to_owned()), "RLAIF_TEST_NO_SUCH_KEY"),
            (Key::File(folder.path().join("gone")), "gone"),
            (Key::File(empty), "empty"),
            (Key::File(two_lines), "two_lines"),
        ] {
            let error = key.read().unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("sk-"), "{error}");
        }
        // Set by cargo for every test.
        assert!(Key::Env("CARGO_PKG_NAME".to_owned()).read().is_ok());
    }
}
