//! The same artifacts for threads that wait: engines and trainers are no asynchronous tasks.

use crate::{Artifacts, Bytes, Error};
use rlaif_types::ContentHash;
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;

/// One job's artifacts, each call of which waits for the store. Cheap to clone.
///
/// # Panics
/// Every call panics on a thread that drives asynchronous tasks: such a thread must not wait.
#[derive(Debug, Clone)]
pub struct BlockingArtifacts {
    artifacts: Artifacts,
    runtime: Handle,
}

impl BlockingArtifacts {
    /// `artifacts`, whose I/O runs on `runtime`.
    pub fn new(artifacts: Artifacts, runtime: Handle) -> Self {
        Self { artifacts, runtime }
    }

    /// See [`Artifacts::location`].
    ///
    /// # Errors
    /// As there.
    pub fn location(&self, name: &str) -> Result<String, Error> {
        self.artifacts.location(name)
    }

    /// See [`Artifacts::put`].
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), Error> {
        self.runtime.block_on(self.artifacts.put(name, bytes))
    }

    /// See [`Artifacts::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, name: &str) -> Result<Bytes, Error> {
        self.runtime.block_on(self.artifacts.get(name))
    }

    /// See [`Artifacts::exists`].
    ///
    /// # Errors
    /// As there.
    pub fn exists(&self, name: &str) -> Result<bool, Error> {
        self.runtime.block_on(self.artifacts.exists(name))
    }

    /// See [`Artifacts::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        self.runtime.block_on(self.artifacts.delete(name))
    }

    /// See [`Artifacts::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, name: &str) -> Result<Vec<String>, Error> {
        self.runtime.block_on(self.artifacts.list(name))
    }

    /// See [`Artifacts::save_folder`].
    ///
    /// # Errors
    /// As there.
    pub fn save_folder(&self, folder: &Path, name: &str) -> Result<(), Error> {
        self.runtime.block_on(self.artifacts.save_folder(folder, name))
    }

    /// See [`Artifacts::local_folder`].
    ///
    /// # Errors
    /// As there.
    pub fn local_folder(&self, name: &str) -> Result<PathBuf, Error> {
        self.runtime.block_on(self.artifacts.local_folder(name))
    }

    /// See [`Artifacts::revision`].
    ///
    /// # Errors
    /// As there.
    pub fn revision(&self, name: &str) -> Result<String, Error> {
        self.runtime.block_on(self.artifacts.revision(name))
    }

    /// See [`Artifacts::hash`].
    ///
    /// # Errors
    /// As there.
    pub fn hash(&self, name: &str) -> Result<ContentHash, Error> {
        self.runtime.block_on(self.artifacts.hash(name))
    }
}
