//! The file: one writer, any number of readers meanwhile, and a commit that outlives `kill -9` and a
//! power cut.
//!
//! Write-ahead logging lets readers work while a run writes; `synchronous = FULL` puts the log on disk
//! before a commit is acknowledged. The one writer is whoever holds a lock on the file beside it, which
//! the system takes back from a process that dies.

use crate::write::{Recorded, record};
use crate::{Entry, Error, readings, schema};
use rlaif_types::ContentHash;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to wait for a moment in which SQLite itself holds a lock, such as a reader's recovery of
/// the log after a kill.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A ledger that can be written to.
pub struct Ledger {
    reader: Reader,
    /// Held, not read.
    _lock: File,
}

/// A ledger that can be read, also while another process writes to it.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) path: PathBuf,
}

impl Ledger {
    /// The files of the ledger at `path`, those that are not always there too. Nothing else may write to them.
    pub fn files(path: &Path) -> [PathBuf; 5] {
        let [journal, log, index] = ["-journal", "-wal", "-shm"].map(|kind| of_sqlite(path, kind));
        [path.to_owned(), journal, log, index, lock_of(path)]
    }

    /// Opens `path` or makes it, and keeps all other writers out.
    ///
    /// # Errors
    /// When another process writes to it, it is no ledger, of a later version, or on a disk that
    /// cannot keep it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let lock = lock(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags)?;
        schema::format(&connection, path, schema::MIGRATIONS.len())?;
        let configure = || -> rusqlite::Result<String> {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
        };
        if configure().map_err(Error::sqlite(path))? != "wal" {
            return Err(Error::NoWriteAheadLog { path: path.to_owned() });
        }
        schema::migrate(&mut connection, path, schema::MIGRATIONS)?;
        Ok(Self { reader: Reader { connection, path: path.to_owned() }, _lock: lock })
    }

    /// Records a batch, all or nothing. When it returns, the batch is on disk.
    ///
    /// A question that has its label keeps it; another success is recorded as an attempt, with what it
    /// cost. A failure never hides a label, and a later success never hides a failure.
    ///
    /// # Errors
    /// When the disk is full or gone, or an entry's answer is not to its question or has a number that is
    /// not finite. Nothing of the batch is recorded then, what was recorded before stays, and the batch can
    /// be recorded again.
    pub fn record(&mut self, entries: &[Entry]) -> Result<Recorded, Error> {
        self.record_with(entries, &[])
    }

    /// [`Ledger::record`], with the readings that each entry is made of: what they took is among the attempts
    /// from now on.
    ///
    /// # Errors
    /// As [`Ledger::record`].
    pub fn record_with(
        &mut self,
        entries: &[Entry],
        readings: &[Vec<ContentHash>],
    ) -> Result<Recorded, Error> {
        let Reader { connection, path } = &mut self.reader;
        let sqlite = Error::sqlite(path);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&sqlite)?;
        let mut recorded = Recorded::default();
        for entry in entries {
            entry.check()?;
            record(&transaction, entry, &mut recorded).map_err(&sqlite)?;
        }
        for readings in readings {
            readings::settle(&transaction, readings).map_err(&sqlite)?;
        }
        transaction.commit().map_err(&sqlite)?;
        Ok(recorded)
    }

    pub(crate) fn writer(&mut self) -> &mut Reader {
        &mut self.reader
    }

    /// For queries.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }
}

impl Reader {
    /// Opens the ledger at `path` for queries, also where nothing can be written beside it. One of an earlier format is
    /// first brought to the one that is read here, as a writer does.
    ///
    /// # Errors
    /// When there is none, it is of a later version, or of an earlier one and cannot be written to now, or a log is
    /// beside it that cannot be read where nothing can be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        let known = schema::MIGRATIONS.len();
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut format = schema::format(&connection, path, known);
        if format.as_ref().is_err_and(Error::is_unwritable) {
            connection = connect_immutable(path)?;
            format = schema::format(&connection, path, known);
        }
        match format? {
            // Made by a writer that was killed before it wrote anything, or by something else.
            0 => return Err(Error::Missing { path: path.to_owned() }),
            found if found < known => {
                drop(connection);
                bring_up(path, found)?;
                connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            }
            _ => {}
        }
        Ok(Self { connection, path: path.to_owned() })
    }
}

/// Brings the ledger at `path`, whose format is `found`, to the last format.
fn bring_up(path: &Path, found: usize) -> Result<(), Error> {
    let why = match Ledger::open(path) {
        Ok(_) => return Ok(()),
        Err(Error::Locked { .. }) => "another process is writing to it; wait for that to end",
        Err(error) if error.is_unwritable() => {
            "it cannot be written to; copy it, with what lies beside it, to a folder of your own, and read it there"
        }
        Err(error) => return Err(error),
    };
    Err(Error::Older { path: path.to_owned(), found, known: schema::MIGRATIONS.len(), why })
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    let open = || -> rusqlite::Result<_> {
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    };
    open().map_err(Error::sqlite(path))
}

/// Opens a ledger beside which nothing can be written: SQLite keeps there what readers and a writer share about
/// the log. Without a log there is nothing to share, and the file is read as one that never changes.
fn connect_immutable(path: &Path) -> Result<Connection, Error> {
    let log = of_sqlite(path, "-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err(Error::LogOutOfReach { path: path.to_owned(), log });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(immutable_uri(path), flags).map_err(Error::sqlite(path))
}

/// The URI by which SQLite takes the file at `path` for one that never changes.
fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(byte));
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

/// A file that SQLite keeps for the database at `path`: beside the file that links lead to.
fn of_sqlite(path: &Path, kind: &str) -> PathBuf {
    let database = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = database.into_os_string();
    name.push(kind);
    name.into()
}

/// The file whose lock the one writer of `ledger` holds.
fn lock_of(ledger: &Path) -> PathBuf {
    ledger.with_added_extension("lock")
}

/// Locks the file beside the ledger. The ledger itself must not be opened by anything but SQLite:
/// closing it would drop SQLite's own locks on it.
fn lock(ledger: &Path) -> Result<File, Error> {
    let path = lock_of(ledger);
    let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = open().map_err(|source| Error::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { path: ledger.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Filter;
    use crate::write::tests::entries;

    #[test]
    fn a_ledger_without_a_log_is_read_without_a_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        // Characters that mean something else in a URI.
        let path = folder.path().join("my labels #1?.db");
        Ledger::open(&path).unwrap().record(&entries(0..3)).unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let before = files();
        let connection = connect_immutable(&path).unwrap();
        let reader = Reader { connection, path: path.clone() };
        assert_eq!(reader.count(&Filter::default()).unwrap(), 3);
        assert_eq!(files(), before);
        // What is only in a log would be missed.
        std::fs::write(folder.path().join("my labels #1?.db-wal"), "a log").unwrap();
        let error = connect_immutable(&path).unwrap_err();
        assert!(matches!(error, Error::LogOutOfReach { .. }), "{error}");
    }

    #[test]
    fn a_ledger_that_is_written_to_has_no_file_that_is_not_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l.sqlite");
        let named = Ledger::files(&path).map(|file| file.file_name().unwrap().to_owned());
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.record(&entries(0..3)).unwrap();
        let there = std::fs::read_dir(folder.path()).unwrap();
        let there: Vec<_> = there.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there.len(), 4, "{there:?}");
        assert!(there.iter().all(|file| named.contains(file)), "{there:?} {named:?}");
    }

    #[test]
    fn a_full_disk_loses_the_batch_in_hand_and_nothing_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path().join("labels.db")).unwrap();
        let pages: i64 = ledger
            .reader
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))
            .unwrap();
        let limit = |ledger: &Ledger, pages: i64| {
            let set = ledger.reader.connection.query_row(
                &format!("PRAGMA max_page_count = {pages}"),
                [],
                |row| row.get::<_, i64>(0),
            );
            assert_eq!(set.unwrap(), pages);
        };
        limit(&ledger, pages + 40);
        let all = entries(0..1000);
        let mut acknowledged = 0;
        let error = loop {
            match ledger.record(&all[acknowledged..acknowledged + 8]) {
                Ok(_) => acknowledged += 8,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert!(acknowledged > 0);
        let ids: Vec<_> = all.iter().map(|entry| entry.label_id.clone()).collect();
        assert_eq!(ledger.reader().find(&ids).unwrap().len(), acknowledged);
        // With room again the same batch goes in.
        limit(&ledger, pages + 4000);
        ledger.record(&all[acknowledged..]).unwrap();
        assert_eq!(ledger.reader().find(&ids).unwrap().len(), all.len());
    }
}
