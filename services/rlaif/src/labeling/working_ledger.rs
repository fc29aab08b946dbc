//! The ledger of a command that makes one thing of all its answers, at the end: they outlive whatever keeps it from
//! getting there, also where nobody has named a ledger.

use super::ClerkArgs;
use anyhow::{Context, Result};
use rlaif_clerk::Clerk;
use rlaif_types::Spend;
use std::path::PathBuf;
use std::thread;
use tempfile::TempDir;

/// Where a command keeps its answers: the ledger that was named, else one among the system's temporary files, which is
/// removed with this value, but for a panic.
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
    pub fn leave(mut self, clerk: &Clerk) {
        if clerk.spent() == Spend::default() {
            return;
        }
        let path = self.path.display();
        let with = match self.temporary.take().map(TempDir::keep) {
            None => String::new(),
            Some(_) => format!(" with --ledger {path}"),
        };
        eprintln!(
            "what was answered is in {path}: the same command{with} goes on without paying for that again"
        );
    }
}

impl Drop for WorkingLedger {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.temporary.take().map(TempDir::keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use std::fs;
    use std::sync::mpsc;

    #[test]
    fn a_panic_leaves_the_answers_where_they_are_said_to_be() {
        let matches = ClerkArgs::augment_args(Command::new("test")).get_matches_from(["test"]);
        let args = ClerkArgs::from_arg_matches(&matches).unwrap();
        let (tell, told) = mpsc::channel();
        let asking = thread::spawn(move || {
            let ledger = WorkingLedger::of(&args, "test").unwrap();
            fs::write(ledger.path(), "answers").unwrap();
            tell.send(ledger.path()).unwrap();
            panic!("in the middle");
        });
        let path = told.recv().unwrap();
        assert!(asking.join().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "answers");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
