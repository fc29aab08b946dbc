//! Folders that services write to: whether they can, and whether there is room.

use super::settings::Told;
use super::{Finding, Limits, alike, names};
use rlaif_hub::Store;
use std::fs;
use std::path::{Path, PathBuf};

/// Services that write a trained model into the temporary folder before it becomes an artifact.
const TRAINERS: [&str; 2] = ["reward", "learner"];

/// Looks at the folders that services write to.
pub fn check(told: &[Told], limits: &Limits) -> Vec<Finding> {
    let mut places: Vec<(String, PathBuf)> = Vec::new();
    for (folder, services) in alike(told, |service| service.data_dir.clone()) {
        places.push((format!("coordinator.data_dir of {}", names(&services)), folder));
    }
    for (folder, services) in alike(told, artifacts) {
        let setting = if services[0].artifacts.url.contains("://") { "cache" } else { "url" };
        places.push((format!("artifacts.{setting} of {}", names(&services)), folder));
    }
    let ledgers = alike(told, |service| {
        let path = service.worker.as_ref()?.ledger.path.as_deref()?;
        Some(path.parent().unwrap_or(Path::new("")).to_owned())
    });
    for (folder, services) in ledgers {
        places.push((format!("worker.ledger.path of {}", names(&services)), folder));
    }
    let mut findings: Vec<Finding> = places
        .iter()
        .map(|(setting, folder)| look(setting, folder, writable_once_made(folder), limits))
        .collect();
    let scratch = alike(told, |service| TRAINERS.contains(&service.name).then(std::env::temp_dir));
    for (folder, services) in scratch {
        let setting = format!("TMPDIR of {}", names(&services));
        // Nobody makes it.
        findings.push(look(&setting, &folder, writable(&folder), limits));
    }
    findings.push(room("RLAIF_MODELS", Store::from_env().folder(), limits));
    findings
}

/// The folder on this machine that artifacts take room in: of a bucket, its cache.
fn artifacts(service: &Told) -> Option<PathBuf> {
    let url = &service.artifacts.url;
    match url.split_once("://") {
        None => Some(PathBuf::from(url)),
        Some(("file", path)) => Some(PathBuf::from(path)),
        Some(_) => Some(service.artifacts.cache.clone()),
    }
}

fn look(setting: &str, folder: &Path, writable: std::io::Result<()>, limits: &Limits) -> Finding {
    match writable {
        Ok(()) => room(setting, folder, limits),
        Err(error) => {
            let place = format!("{setting} ({})", folder.display());
            let mend = "make it a folder that the service's user may write: mkdir, chown, or the volume's \
                        fsGroup";
            Finding::wrong("disk", place, error, mend)
        }
    }
}

/// Whether a file can be made there, or where the folder would be made.
fn writable_once_made(folder: &Path) -> std::io::Result<()> {
    writable(&existing(folder))
}

/// Whether a file can be made in the folder.
fn writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".rlaif-doctor-{}", std::process::id()));
    fs::File::create_new(&probe)?;
    fs::remove_file(probe)
}

fn room(setting: &str, folder: &Path, limits: &Limits) -> Finding {
    let place = format!("{setting} ({})", folder.display());
    match rustix::fs::statvfs(existing(folder)) {
        Ok(disk) => judged(place, disk.f_bavail.saturating_mul(disk.f_frsize), limits.min_free),
        Err(error) => {
            let mend = "look with df; the service's user must be able to reach the folder";
            Finding::unknown("disk", place, format!("its free space is not known: {error}"), mend)
        }
    }
}

fn judged(place: String, free: u64, min_free: u64) -> Finding {
    let gb = |bytes: u64| format!("{:.1} GB", bytes as f64 / 1e9);
    if free < min_free {
        let what = format!("{} are free, less than {}", gb(free), gb(min_free));
        let mend = "free some or enlarge the disk; checkpoints and training states take several times a \
                    model's size (--min-free-gb says how much is enough)";
        return Finding::wrong("disk", place, what, mend);
    }
    Finding::well("disk", place, format!("{} are free", gb(free)))
}

/// The folder, or the nearest above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut ancestors = absolute.ancestors();
    ancestors.find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_is_looked_at_where_it_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        writable_once_made(&deep).unwrap();
        assert!(!deep.exists() && fs::read_dir(folder.path()).unwrap().next().is_none());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(writable_once_made(&file.join("jobs")).is_err());
    }

    #[test]
    fn too_little_room_is_told_with_what_there_is() {
        let finding = judged("here".to_owned(), 900_000_000, 5_000_000_000);
        assert!(finding.is_wrong() && finding.to_string().contains("0.9 GB"), "{finding}");
        assert!(!judged("here".to_owned(), 5_000_000_000, 5_000_000_000).is_wrong());
    }
}
