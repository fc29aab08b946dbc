//! Where things lie: the journal, and each job's run folder.
//!
//! A job's artifacts are named by its id in the artifact store.

use crate::Error;
use rlaif_artifacts::Removed;
use rlaif_job::RunFolder;
use rlaif_types::ContentHash;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The coordinator's own disk.
#[derive(Debug, Clone)]
pub struct Places {
    /// Run folders, by job id.
    jobs: PathBuf,
    journal: PathBuf,
    /// The only job there is.
    only: Option<String>,
}

impl Places {
    /// Any number of jobs below a data folder.
    pub fn many_jobs(root: &Path) -> Self {
        Self { jobs: root.join("jobs"), journal: root.join("journal.redb"), only: None }
    }

    /// One job alone, with its journal in its run folder: `rlaif run`. Its artifacts lie there too if
    /// the artifact store is the folder's parent, [`Places::jobs`].
    ///
    /// # Errors
    /// When the folder has no name that a job could have.
    pub fn one_job(folder: &Path) -> Result<Self, Error> {
        let io = |e| Error::from(rlaif_job::Error::io(folder)(e));
        let absolute = std::path::absolute(folder).map_err(io)?;
        let name = absolute.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(parent)) = (name, absolute.parent()) else {
            let what = "has no name that a run could have; choose another";
            return Err(rlaif_job::Error::run_folder(folder, what).into());
        };
        Ok(Self {
            jobs: parent.to_owned(),
            journal: absolute.join("journal.redb"),
            only: Some(name.to_owned()),
        })
    }

    /// The folder of run folders.
    pub fn jobs(&self) -> &Path {
        &self.jobs
    }

    /// The journal's file.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// A job's run folder.
    pub fn run_folder(&self, job: &str) -> RunFolder {
        RunFolder::new(self.jobs.join(job))
    }

    /// The folder of a job that the journal does not know yet. Of several jobs, what lies there is
    /// left from a submission that was never acknowledged, and goes.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn begin(&self, job: &str) -> Result<RunFolder, Error> {
        let folder = self.run_folder(job);
        if self.only.is_none() && folder.root().exists() {
            fs::remove_dir_all(folder.root()).map_err(rlaif_job::Error::io(folder.root()))?;
        }
        Ok(folder)
    }

    /// Removes the folder of a deleted job, and has the disk know; of one that has none, nothing is removed.
    /// The only job there is stays: the journal lies in its folder.
    ///
    /// # Errors
    /// When it cannot be removed whole.
    pub fn remove(&self, job: &str) -> Result<Removed, Error> {
        let folder = self.jobs.join(job);
        if self.only.is_some() || !folder.exists() {
            return Ok(Removed::default());
        }
        let mut removed = Removed::default();
        let removing = measure(&folder, &mut removed)
            .and_then(|()| fs::remove_dir_all(&folder))
            .and_then(|()| File::open(&self.jobs)?.sync_all());
        removing.map_err(rlaif_job::Error::io(&folder))?;
        Ok(removed)
    }

    /// The id of a new job.
    pub fn job_id(&self, name: &str, key: &ContentHash) -> String {
        self.only.clone().unwrap_or_else(|| format!("{}-{}", slug(name), key.short()))
    }
}

/// Adds what is in a folder, and in those below it.
fn measure(folder: &Path, all: &mut Removed) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            measure(&entry.path(), all)?;
        } else {
            all.files += 1;
            all.bytes += about.len();
        }
    }
    Ok(())
}

/// A name as part of a folder's name and of a URL.
fn slug(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().take(40).map(safe).collect()
}
