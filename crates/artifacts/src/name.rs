//! Names of artifacts: relative paths that mean the same in every store and lead nowhere else.

use crate::Error;
use object_store::path::Path;

/// Longest name in bytes; S3 takes 1024 for prefix and name together.
const MAX_NAME_BYTES: usize = 512;

/// `name` as a path of the store.
///
/// # Errors
/// When it is empty, absolute, too long, climbs, or has characters that some store would spell
/// otherwise.
pub(crate) fn checked(name: &str) -> Result<Path, Error> {
    let bad = |what| Err(Error::BadName { name: name.to_owned(), what });
    if name.len() > MAX_NAME_BYTES {
        return bad("it is too long");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return bad("it must be a relative path without empty parts");
        }
        if part.bytes().all(|b| b == b'.') {
            return bad("it must not climb out of the job's artifacts");
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return bad("use letters, digits, '-', '_', '.' and '/'");
        }
    }
    Ok(Path::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in
            ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/.", "a\\b", "a/", "%2e%2e/x"]
        {
            assert!(matches!(checked(name), Err(Error::BadName { .. })), "{name} was taken");
        }
        for name in ["state/sft.safetensors", "versions/policy-00000003.safetensors", "a/..b/c_d"] {
            assert_eq!(checked(name).unwrap().as_ref(), name);
        }
    }
}
