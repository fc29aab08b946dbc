//! What can go wrong with a ledger, and how to mend it.

use rusqlite::{ErrorCode, ffi};
use std::path::{Path, PathBuf};

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there to read.
    #[error("{path}: there is no ledger; a run that labels makes one", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Another process writes to it.
    #[error(
        "{path}: another process is writing to this ledger; wait for it to end, or name another \
         file (reading is possible meanwhile)",
        path = path.display()
    )]
    Locked {
        /// The ledger.
        path: PathBuf,
    },
    /// It was made by a later version.
    #[error(
        "{path}: the ledger has format {found}, and this version reads up to {known}; use a newer \
         rlaif",
        path = path.display()
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: usize,
        /// The newest format known here.
        known: usize,
    },
    /// It was made by an earlier version, and could not be brought to the format that is read here.
    #[error(
        "{path}: the ledger has format {found}, and cannot be brought to {known} to be read: {why}",
        path = path.display()
    )]
    Older {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: usize,
        /// The format read here.
        known: usize,
        /// What is in the way, and how to mend that.
        why: &'static str,
    },
    /// It is something else.
    #[error("{path}: this is not a ledger; name another file", path = path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// The file system cannot keep it safely.
    #[error(
        "{path}: the file system here has no shared memory for write-ahead logging (a network \
         share?); put the ledger on a local disk",
        path = path.display()
    )]
    NoWriteAheadLog {
        /// The ledger.
        path: PathBuf,
    },
    /// It lies where nothing can be written, with a log that can only be read where something can.
    #[error(
        "{path}: the folder cannot be written to, and the last labels are still in the log beside the \
         ledger; copy both, {log} too, to a folder of your own, and read them there",
        path = path.display(), log = log.display()
    )]
    LogOutOfReach {
        /// The ledger.
        path: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// There is no room. Nothing of the batch was recorded; what was recorded before stays.
    #[error(
        "{path}: the disk is full or the file may grow no further, and the last batch is not \
         recorded; free some space or raise the limit, and record it again",
        path = path.display()
    )]
    DiskFull {
        /// The ledger.
        path: PathBuf,
    },
    /// A row that this version would not have written.
    #[error(
        "{path}: a row cannot be read ({what}); restore the ledger, or label into a new one",
        path = path.display()
    )]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// An entry that contradicts itself, or could not be read back as it is. Nothing of the batch was
    /// recorded.
    #[error("label {label_id}: {what}")]
    BadEntry {
        /// Its id.
        label_id: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// No question has such an id.
    #[error("no label's id begins with {prefix:?}; `rlaif labels list` shows them")]
    Unknown {
        /// What was looked for.
        prefix: String,
    },
    /// Several questions do.
    #[error("several labels' ids begin with {prefix:?}; give more digits")]
    Ambiguous {
        /// What was looked for.
        prefix: String,
    },
    /// The lock could not be made or taken.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The lock.
        path: PathBuf,
        /// What was said.
        source: std::io::Error,
    },
    /// Anything else that SQLite said.
    #[error("{path}: {source}", path = path.display())]
    Sqlite {
        /// The ledger.
        path: PathBuf,
        /// What was said.
        source: rusqlite::Error,
    },
}

impl Error {
    /// Whether the ledger, or a file that is needed beside it, could not be made or written to.
    pub(crate) fn is_unwritable(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen)
            ),
            Self::Io { .. } => true,
            _ => false,
        }
    }

    /// What an error of SQLite means for the ledger at `path`.
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let path = path.clone();
            if let rusqlite::Error::FromSqlConversionFailure(_, _, what) = &source {
                return Self::Damaged { path, what: what.to_string() };
            }
            match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::DiskFull { path },
                Some(ErrorCode::SystemIoFailure) if is_out_of_room(&source) => {
                    Self::DiskFull { path }
                }
                Some(ErrorCode::NotADatabase) => Self::NotALedger { path },
                _ => Self::Sqlite { path, source },
            }
        }
    }
}

/// Whether a file could not grow, by what the system said last on this thread.
///
/// SQLite itself tells a full disk apart where it writes, but not where it syncs, and a quota or a
/// limit on files nowhere.
fn is_out_of_room(error: &rusqlite::Error) -> bool {
    use ffi::{
        SQLITE_IOERR_FSYNC, SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE,
    };
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    // Those that come from a system call that failed; after others its last word is an old one.
    let grew = error.sqlite_error().is_some_and(|error| {
        matches!(
            error.extended_code,
            SQLITE_IOERR_WRITE | SQLITE_IOERR_FSYNC | SQLITE_IOERR_TRUNCATE | SQLITE_IOERR_SHMSIZE
        )
    });
    let last = std::io::Error::last_os_error().kind();
    grew && matches!(last, StorageFull | QuotaExceeded | FileTooLarge)
}
