//! The ledger of a command that makes one thing of all its answers, at the end: they outlive whatever keeps it from
//! getting there, also where nobody has named a ledger.

use super::ClerkArgs;
use anyhow::{Context, Result};
use rlaif_clerk::Clerk;
use rlaif_types::Spend;
use std::path::PathBuf;
use tempfile::TempDir;

/// Where a command keeps its answers: the ledger that was named, else one among the system's temporary files, which is
/// removed with this value.
pub struct WorkingLedger {
    path: PathBuf,
    /// Where none was named, the folder of this one.
    temporary: Option<TempDir>,
}

impl WorkingLedger {
    /// The ledger of the command that is called `command`; of one that nobody named it says where it is, for who kills
    /// the command.
    ///
    /// # Errors
    /// When none was named, and no folder can be made for one.
    pub fn of(args: &ClerkArgs, command: &str) -> Result<Self> {
        if let Some(path) = &args.ledger {
            return Ok(Self { path: path.clone(), temporary: None });
        }
        let folder = tempfile::Builder::new().prefix(&format!("rlaif-{command}-")).tempdir();
        let folder = folder.context("making a folder for the answers; name a file by --ledger")?;
        let path = folder.path().join("labels.sqlite");
        eprintln!("answers are kept in {} until there is a report of them", path.display());
        Ok(Self { path, temporary: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The command has failed: leaves what `clerk` was answered where it is, and says how to go on from there.
    pub fn leave(self, clerk: &Clerk) {
        if clerk.spent() == Spend::default() {
            return;
        }
        let path = self.path.display();
        let with = match self.temporary {
            None => String::new(),
            Some(folder) => {
                let _ = folder.keep();
                format!(" with --ledger {path}")
            }
        };
        eprintln!(
            "what was answered is in {path}: the same command{with} goes on without paying for that again"
        );
    }
}
