//! Where things lie: the journal, run folders, and each job's artifacts.

use rlaif_job::RunFolder;
use rlaif_types::ContentHash;
use std::path::{Path, PathBuf};

/// The coordinator's own disk.
#[derive(Debug, Clone)]
pub enum Places {
    /// One job, whose run folder is also its artifact store: `rlaif run`.
    OneJob(PathBuf),
    /// Any number of jobs below a data folder.
    ManyJobs(PathBuf),
}

impl Places {
    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.root().join("journal.redb")
    }

    /// A job's run folder.
    pub fn run_folder(&self, job: &str) -> RunFolder {
        match self {
            Self::OneJob(folder) => RunFolder::new(folder),
            Self::ManyJobs(root) => RunFolder::new(root.join("jobs").join(job)),
        }
    }

    /// What a job's artifacts are called in the store.
    pub fn artifact_prefix(&self, job: &str) -> String {
        match self {
            Self::OneJob(_) => String::new(),
            Self::ManyJobs(_) => format!("jobs/{job}"),
        }
    }

    /// The id of a new job.
    pub fn job_id(&self, name: &str, key: &ContentHash) -> String {
        match self {
            Self::OneJob(_) => "run".into(),
            Self::ManyJobs(_) => format!("{}-{}", slug(name), key.short()),
        }
    }

    fn root(&self) -> &Path {
        match self {
            Self::OneJob(root) | Self::ManyJobs(root) => root,
        }
    }
}

/// A name as part of a folder's name and of a URL.
fn slug(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().take(40).map(safe).collect()
}
