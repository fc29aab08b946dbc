//! Hashes of files: the two that the hub states, computed from what is on disk.

use crate::Error;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What a file must hash to, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// SHA-256 of the content: large files (git LFS), and all known models.
    Sha256(String),
    /// Git's name of the content, for small files: SHA-1 of `blob <length>\0` and the content. It
    /// finds damage; against forgery stands the connection's TLS.
    GitBlob(String),
}

impl Expected {
    /// Checks the file at `path`; `name` is what people call it.
    ///
    /// # Errors
    /// When it hashes to something else, or cannot be read.
    pub fn check(&self, path: &Path, name: &str) -> Result<(), Error> {
        let found = match self {
            Self::Sha256(_) => Self::Sha256(hash(Sha256::new(), path)?),
            Self::GitBlob(_) => {
                let length = path.metadata().map_err(Error::io(path))?.len();
                let start = Sha1::new_with_prefix(format!("blob {length}\0"));
                Self::GitBlob(hash(start, path)?)
            }
        };
        if found == *self {
            return Ok(());
        }
        Err(Error::WrongHash {
            file: name.into(),
            found: found.to_string(),
            expected: self.to_string(),
        })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256 {hex}"),
            Self::GitBlob(hex) => write!(f, "git {hex}"),
        }
    }
}

fn hash(mut hasher: impl Digest, path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io(path))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from `printf hello | sha256sum` and `printf hello | git hash-object --stdin`.
    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hello");
        std::fs::write(&path, "hello").unwrap();
        let sha = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        Expected::Sha256(sha.into()).check(&path, "hello").unwrap();
        let git = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
        Expected::GitBlob(git.into()).check(&path, "hello").unwrap();
        let error = Expected::Sha256("00".into()).check(&path, "hello").unwrap_err();
        assert!(error.to_string().contains(sha), "{error}");
    }
}
