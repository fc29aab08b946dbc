//! The file's tables, and the way from each format to the next.

use crate::Error;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// Marks the file as a ledger: "rlld" in `PRAGMA application_id`.
const APPLICATION_ID: i64 = 0x726c_6c64;

/// Step `n` leads from format `n` to `n + 1`. Steps are only ever added.
///
/// A question has a row of its own; so has each attempt at it, with what it cost. The first attempt
/// that succeeds makes the label. Money is in picodollars, time in milliseconds. Readings are answers to
/// single prompts; the oldest say neither how they were asked (null) nor what they cost (0).
/// A panel's label is made of its members' labels and has no attempts of its own. A check asks a labeler whether it is
/// there, and is no question.
pub(crate) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE setups (
        id INTEGER PRIMARY KEY,
        template TEXT NOT NULL,
        template_hash TEXT NOT NULL,
        model TEXT NOT NULL,
        model_hash TEXT NOT NULL,
        engine TEXT NOT NULL,
        options TEXT NOT NULL,
        UNIQUE (model_hash, template_hash, engine, options, model, template)
    ) STRICT;
    CREATE TABLE questions (
        id INTEGER PRIMARY KEY,
        label_id TEXT NOT NULL UNIQUE,
        prompt TEXT NOT NULL,
        response_a TEXT NOT NULL,
        response_b TEXT -- null: response_a is rated
    ) STRICT;
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY,
        question INTEGER NOT NULL REFERENCES questions,
        setup INTEGER NOT NULL REFERENCES setups,
        reason TEXT, -- null: it succeeded
        detail TEXT,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        device_ms INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        latency_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        worker TEXT,
        trace_id TEXT,
        created_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX attempts_by_question ON attempts (question);
    CREATE TABLE labels (
        question INTEGER PRIMARY KEY REFERENCES questions,
        attempt INTEGER NOT NULL REFERENCES attempts,
        kind TEXT NOT NULL, -- comparison or rating
        soft_label REAL, -- of a comparison
        reward REAL, -- of a rating
        score REAL, -- of a rating
        verdict_mass REAL NOT NULL,
        answer TEXT NOT NULL -- all of it, as JSON
    ) STRICT;
",
    "
    CREATE TABLE readings (
        id TEXT PRIMARY KEY,
        reading TEXT NOT NULL, -- as JSON, of whoever keeps them
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        accounted INTEGER NOT NULL DEFAULT 0 -- among the attempts is what it took
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE readings ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE readings ADD COLUMN setup INTEGER REFERENCES setups;
",
    "
    CREATE TABLE panels (
        label_id TEXT PRIMARY KEY,
        rule TEXT NOT NULL,
        quorum INTEGER NOT NULL,
        soft_label REAL NOT NULL,
        members TEXT NOT NULL -- ids of their questions in the panel's order, as JSON
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE checks (
        id INTEGER PRIMARY KEY,
        setup INTEGER NOT NULL REFERENCES setups,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        created_at_ms INTEGER NOT NULL
    ) STRICT;
",
];

/// Brings the file to the last of `migrations`, each step whole or not at all.
///
/// # Errors
/// When the file is no ledger, or of a later format.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), Error> {
    let format = format(connection, path, migrations.len())?;
    let sqlite = Error::sqlite(path);
    for (done, step) in migrations.iter().enumerate().skip(format) {
        let run = |connection: &mut Connection| -> rusqlite::Result<()> {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", done as i64 + 1)?;
            transaction.commit()
        };
        run(connection).map_err(&sqlite)?;
    }
    Ok(())
}

/// The file's format; 0 where it is empty.
///
/// # Errors
/// When it is no ledger, or of a format after `known`.
pub(crate) fn format(connection: &Connection, path: &Path, known: usize) -> Result<usize, Error> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let read = || -> rusqlite::Result<_> {
        let count = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(count, [], |row| row.get(0))?;
        Ok((pragma("application_id")?, pragma("user_version")?, tables))
    };
    let (application, version, tables) = read().map_err(Error::sqlite(path))?;
    let found = usize::try_from(version).unwrap_or(usize::MAX);
    match (application, tables) {
        (0, 0) => Ok(0),
        (APPLICATION_ID, _) if found > known => {
            Err(Error::Newer { path: path.to_owned(), found, known })
        }
        (APPLICATION_ID, _) => Ok(found),
        _ => Err(Error::NotALedger { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::tests::entries;
    use crate::write::{Recorded, record};
    use crate::{Entry, Filter, Ledger, Reader};
    use rlaif_types::{Money, Usage};

    const STEPS: &[&str] = &[
        "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)",
        "ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 1",
    ];

    fn migrated(connection: &mut Connection, steps: &[&str]) -> Result<(), Error> {
        migrate(connection, Path::new("test"), steps)
    }

    #[test]
    fn an_older_file_is_brought_up_step_by_step_and_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrated(&mut connection, &STEPS[..1]).unwrap();
        migrated(&mut connection, STEPS).unwrap();
        migrated(&mut connection, STEPS).unwrap();
        let row: (i64, i64) = connection
            .query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(row, (7, 1));
    }

    /// A ledger of an `earlier` format, with what was `written` to it.
    fn ledger_of_format(earlier: usize, path: &Path, written: &[Entry]) {
        let mut connection = Connection::open(path).unwrap();
        migrate(&mut connection, path, &MIGRATIONS[..earlier]).unwrap();
        let mut recorded = Recorded::default();
        for entry in written {
            record(&connection, entry, &mut recorded).unwrap();
        }
    }

    #[test]
    fn a_ledger_of_every_earlier_format_is_read_as_one_of_the_last() {
        for earlier in 1..MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("labels.db");
            let written = entries(0..3);
            ledger_of_format(earlier, &path, &written);
            let reader = Reader::open(&path).unwrap();
            assert_eq!(reader.count(&Filter::default()).unwrap(), 3, "format {earlier}");
            assert_eq!(reader.spent().unwrap()[0].labels, 3, "format {earlier}");
            assert_eq!(reader.panel(written[0].label_id.0.as_str()).unwrap(), None);
            // Nothing is held: a run may write to it now.
            Ledger::open(&path).unwrap();
        }
    }

    #[test]
    fn an_older_ledger_that_cannot_be_written_to_is_not_read_and_says_what_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.db");
        ledger_of_format(1, &path, &entries(0..1));
        let [.., lock] = Ledger::files(&path);
        let why = || match Reader::open(&path).err().unwrap() {
            Error::Older { found: 1, why, .. } => why,
            other => panic!("{other}"),
        };
        // A folder in the lock's place: permissions would not stop root.
        std::fs::create_dir(&lock).unwrap();
        assert!(why().contains("copy it"), "{}", why());
        std::fs::remove_dir(&lock).unwrap();
        let writer = std::fs::File::create(&lock).unwrap();
        writer.lock().unwrap();
        assert!(why().contains("another process"), "{}", why());
        drop(writer);
        Reader::open(&path).unwrap();
    }

    #[test]
    fn a_ledger_of_every_earlier_format_keeps_its_labels_and_its_account() {
        for earlier in 1..MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("labels.db");
            let written = entries(0..3);
            ledger_of_format(earlier, &path, &written);
            let mut ledger = Ledger::open(&path).unwrap();
            let usage = Usage { prompt_tokens: 7, ..Usage::default() };
            ledger.record_check(&written[0].setup, &usage, Money::default(), 0).unwrap();
            let ids: Vec<_> = written.iter().map(|entry| entry.label_id.clone()).collect();
            assert_eq!(ledger.reader().find(&ids).unwrap().len(), 3, "format {earlier}");
            drop(ledger);
            let spent = Reader::open(&path).unwrap().spent().unwrap();
            let [spent] = &spent[..] else { panic!("format {earlier}: {spent:?}") };
            assert_eq!((spent.labels, spent.checks, spent.usage.prompt_tokens), (3, 1, 607));
        }
    }

    #[test]
    fn a_step_that_fails_leaves_the_format_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = [STEPS[0], "ALTER TABLE a ADD COLUMN y INTEGER; SELECT nothing"];
        assert!(migrated(&mut connection, &steps).is_err());
        assert_eq!(format(&connection, Path::new("test"), 2).unwrap(), 1);
        migrated(&mut connection, STEPS).unwrap();
    }

    #[test]
    fn a_newer_file_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrated(&mut connection, STEPS).unwrap();
        let error = migrated(&mut connection, &STEPS[..1]).unwrap_err();
        assert!(matches!(error, Error::Newer { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn another_programs_database_is_not_touched() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE bookmarks (url TEXT)").unwrap();
        let error = migrated(&mut connection, STEPS).unwrap_err();
        assert!(matches!(error, Error::NotALedger { .. }), "{error}");
    }
}
